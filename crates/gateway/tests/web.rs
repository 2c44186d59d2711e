//! The web door under attack from inside, over real sockets on loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail loudly")]

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use windlass_gateway::{
    Door, Limits,
    upstream::Proxy,
    web::{self, Options, Outcome, Record, Resolver},
};
use windlass_policy::network::{Effect, Layer, LayerText, Network};

/// Names and their addresses; each look-up of a name takes the next of its answers, and the last one
/// stays.
#[derive(Default)]
struct Names {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    fn add(&self, name: &str, answers: &[&[&str]]) {
        let parse = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        self.answers.lock().unwrap().insert(name.to_owned(), answers.iter().map(parse).collect());
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.asked.lock().unwrap().push(host.to_owned());
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match answers.get_mut(host) {
            None => Err(io::Error::other("no such name")),
            Some(answers) if answers.len() > 1 => Ok(answers.remove(0)),
            Some(answers) => Ok(answers[0].clone()),
        };
        Box::pin(std::future::ready(found))
    }
}

struct World {
    door: Door,
    names: Arc<Names>,
    records: mpsc::UnboundedReceiver<Record>,
}

/// A door with an operator's rules, and names that lead to loopback.
fn world_with(rules: &[String], change: impl FnOnce(&mut Options)) -> World {
    let text = LayerText { allow: Some(rules.to_vec()), deny: Vec::new() };
    let network = Network::nothing().with_layer(Layer::Operator, &text).expect("good rules");
    let (sender, records) = mpsc::unbounded_channel();
    let mut options = Options::new(network, Arc::new(move |record| sender.send(record).unwrap()));
    let names = Arc::new(Names::default());
    options.resolver = names.clone();
    change(&mut options);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    World { door: web::serve(listener, options).expect("a door"), names, records }
}

fn world(rules: &[String]) -> World {
    world_with(rules, |_| {})
}

impl World {
    /// Sends bytes and returns everything that comes back.
    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.door.address()).await.expect("the door");
        stream.write_all(bytes).await.expect("sent");
        let mut answer = Vec::new();
        // A door that resets a connection has also answered.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, url: &str) -> String {
        let host = url.trim_start_matches("http://").split('/').next().unwrap_or("");
        self.send(
            format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await
    }

    async fn connect(&self, target: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.door.address()).await.expect("the door");
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let head = head(&mut stream).await;
        (stream, head)
    }

    async fn record(&mut self) -> Record {
        self.records.recv().await.expect("a record")
    }
}

/// Reads up to and including the empty line after a message's head.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A server that answers every connection with the same bytes after it has read a head, and tells
/// what it read.
async fn origin(answer: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut seen = head(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                seen.push_str(&String::from_utf8_lossy(&rest));
                let _ = sender.send(seen);
            });
        }
    });
    (address, receiver)
}

/// A server that sends everything back.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    address
}

fn client_hello(server_name: &str) -> Vec<u8> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = server_name.to_owned().try_into().expect("a name");
    let mut connection =
        rustls::ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("written");
    hello
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\r\nhello";

#[tokio::test]
async fn an_allowed_host_is_reached_and_the_record_says_everything() {
    let (address, mut seen) = origin(OK).await;
    let port = address.port();
    let rule = format!("mirror.example:{port} in 127.0.0.1");
    let mut world = world(std::slice::from_ref(&rule));
    world.names.add("mirror.example", &[&["127.0.0.1"]]);
    let request = format!(
        "POST http://Mirror.Example:{port}/a?b=c HTTP/1.1\r\nHost: mirror.example:{port}\r\nConnection: close, X-Hop\r\n\
         X-Hop: 1\r\nProxy-Authorization: Basic c2VjcmV0\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n\
         Upgrade: h2c\r\nX-Kept: yes\r\nContent-Length: 3\r\n\r\nabc"
    );
    let answer = world.send(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"), "{answer}");
    assert!(
        !answer.to_lowercase().contains("proxy-authenticate") && !answer.contains("timeout=5"),
        "{answer}"
    );
    let seen = seen.recv().await.expect("a request").to_lowercase();
    assert!(
        seen.starts_with("post /a?b=c http/1.1\r\n") && seen.ends_with("\r\n\r\nabc"),
        "{seen}"
    );
    assert!(
        seen.contains(&format!("host: mirror.example:{port}\r\n")) && seen.contains("x-kept: yes"),
        "{seen}"
    );
    for gone in ["x-hop", "proxy-", "te: ", "upgrade", "c2vjcmv0"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
    let record = world.record().await;
    let expected = Record {
        method: "POST".to_owned(),
        host: "mirror.example".to_owned(),
        port,
        effect: Effect::Allow,
        rule: rule.clone(),
        layer: Some(Layer::Operator),
        why: format!("the operator layer allows `{rule}`"),
        address: Some("127.0.0.1".parse().unwrap()),
        bytes_up: 3,
        bytes_down: 5,
        duration_us: record.duration_us,
        outcome: Outcome::Done,
    };
    assert_eq!(record, expected);
}

#[tokio::test]
async fn a_refusal_says_why_and_how_to_allow_it_and_the_name_is_never_looked_up() {
    let mut world = world(&["registry.example:443".to_owned()]);
    let answer = world.get("http://evil.example/secret-path?data=x").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.ends_with(
        "windlass web door: evil.example:80 is refused: no rule of the operator layer allows `evil.example:80`; it can \
         be allowed by adding `evil.example:80` there\n"
    ), "{answer}");
    let record = world.record().await;
    assert_eq!(
        (record.effect, record.outcome, record.bytes_down),
        (Effect::Deny, Outcome::Refused, 0)
    );
    assert!(!format!("{record:?}").contains("secret-path"));
    let (_, head) = world.connect("registry.example:22").await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert_eq!(world.names.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn no_spelling_of_a_private_address_gets_through() {
    let (address, _seen) = origin(OK).await;
    let port = address.port();
    let world = world(&["*:*".to_owned()]);
    world.names.add("rebound.example", &[&["127.0.0.1"]]);
    world.names.add("mapped.example", &[&["::ffff:127.0.0.1"]]);
    world.names.add("mixed.example", &[&["1.1.1.1", "127.0.0.1"]]);
    world.names.add("nat64.example", &[&["64:ff9b::7f00:1"]]);
    world.names.add("metadata.example", &[&["169.254.169.254"]]);
    world.names.add("localhost", &[&["::1"]]);
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "0",
        "0.0.0.0",
        "[::]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "localhost",
        "LOCALHOST.",
        "rebound.example",
        "rebound.example.",
        "mapped.example",
        "mixed.example",
        "nat64.example",
        "metadata.example",
        "user@127.0.0.1",
        "registry.example@127.0.0.1",
        "127.0.0.1%2f.example",
        "%31%32%37.0.0.1",
        "①②⑦.0.0.1",
        "[fe80::1%25lo]",
        "127.0.0.1%00.example",
    ];
    for host in hosts {
        for request in [
            format!(
                "GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
            ),
            format!(
                "CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
            ),
        ] {
            let answer = world.send(request.as_bytes()).await;
            assert!(
                answer.starts_with("HTTP/1.1 403 ") || answer.starts_with("HTTP/1.1 400 "),
                "{request}: {answer}"
            );
            assert!(!answer.contains("hello"));
        }
    }
    let literal = world.get(&format!("http://127.0.0.1:{port}/")).await;
    assert!(literal.contains("no rule of the operator layer allows `127.0.0.1:"), "{literal}");
    let named = world.get(&format!("http://rebound.example:{port}/")).await;
    let why = format!(
        "`rebound.example` resolved to 127.0.0.1, which is a loopback address; an operator may allow it with the rule \
         `rebound.example:{port} in 127.0.0.1`"
    );
    assert!(named.contains(&why), "{named}");
}

#[tokio::test]
async fn a_name_that_changes_between_the_check_and_the_use_changes_nothing() {
    let (good, _) = origin(OK).await;
    let port = good.port();
    let world = world(&[format!("rebinding.example:{port} in 127.0.0.2")]);
    // The first answer is permitted, every further one is not.
    world.names.add("rebinding.example", &[&["127.0.0.2"], &["127.0.0.1"]]);
    let answer = world.get(&format!("http://rebinding.example:{port}/")).await;
    // Nothing listens on 127.0.0.2; had the name been asked again, the origin would have answered.
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("127.0.0.2"), "{answer}");
    assert_eq!(world.names.asked(), ["rebinding.example"]);
    let again = world.get(&format!("http://rebinding.example:{port}/")).await;
    assert!(again.starts_with("HTTP/1.1 403 "), "{again}");
}

#[tokio::test]
async fn requests_that_two_programs_read_differently_are_refused_or_written_anew() {
    let (address, mut seen) = origin(OK).await;
    let port = address.port();
    let world = world(&[format!("m.example:{port} in 127.0.0.1")]);
    world.names.add("m.example", &[&["127.0.0.1"]]);
    let url = format!("http://m.example:{port}/x");
    let host = format!("Host: m.example:{port}\r\n");
    let refused = [
        format!("GET {url} HTTP/1.1\r\n{host}X-Folded: a\r\n b: c\r\nConnection: close\r\n\r\n"),
        format!("POST {url} HTTP/1.1\r\n{host}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        format!("POST {url} HTTP/1.1\r\n{host}Content-Length: +3\r\n\r\nabc"),
        format!("POST {url} HTTP/1.1\r\n{host}Content-Length: 0x3\r\n\r\nabc"),
        format!(
            "POST {url} HTTP/1.1\r\n{host}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"
        ),
        format!("POST {url} HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!(
            "POST {url} HTTP/1.1\r\n{host}Transfer-Encoding : chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"
        ),
        format!("GET {url} HTTP/1.1\r\n{host}Bad\u{0}Name: x\r\n\r\n"),
        format!("GET {url} HTTP/1.1\r\n{host}Host: other.example\r\nConnection: close\r\n\r\n"),
        format!("GET {url} HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n"),
        format!("GET {url} HTTP/1.1\r\nConnection: close\r\n\r\n"),
        format!("GET https://m.example:{port}/ HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
        format!("GET ftp://m.example:{port}/ HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
        format!("CONNECT m.example HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
        format!("CONNECT http://m.example:{port}/ HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
        format!("CONNECT m.example:0 HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
        format!(
            "CONNECT m.example:{port}@evil.example:443 HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
        ),
    ];
    for request in refused {
        let answer = world.send(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer:?}");
    }
    assert!(seen.try_recv().is_err(), "nothing was passed on");

    // Both lengths: the chunks count, the length is dropped, and what was smuggled behind is a
    // request of its own, judged on its own.
    let smuggled =
        "GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let both = format!(
        "POST {url} HTTP/1.1\r\n{host}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n{smuggled}"
    );
    let answer = world.send(both.as_bytes()).await;
    let passed = seen.recv().await.expect("one request").to_lowercase();
    assert!(
        !passed.contains("content-length") && passed.contains("transfer-encoding: chunked"),
        "{passed}"
    );
    assert!(!passed.contains("evil"), "{passed}");
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert!(!answer.contains("HTTP/1.1 200 OK\r\nHTTP"), "{answer}");

    // Bare line ends are taken, but what is passed on has none.
    let bare = format!("GET {url} HTTP/1.1\nHost: m.example:{port}\nX-A: b\nConnection: close\n\n");
    let answer = world.send(bare.as_bytes()).await;
    if answer.starts_with("HTTP/1.1 200") {
        let passed = seen.recv().await.expect("a request");
        assert_eq!(passed.matches('\n').count(), passed.matches("\r\n").count(), "{passed:?}");
    } else {
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}

#[tokio::test]
async fn heads_that_are_too_large_or_never_end_are_cut_off() {
    let world = world_with(&["*:*".to_owned()], |options| {
        options.limits = Limits {
            head_time: Duration::from_millis(200),
            head_bytes: 16 * 1024,
            ..Limits::default()
        };
    });
    let long = format!(
        "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let many = format!(
        "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n{}\r\n",
        "X: y\r\n".repeat(1000)
    );
    for bomb in [long, many] {
        let answer = world.send(bomb.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    // A head that is never finished; the connection is closed by the door.
    let answer = world.send(b"GET http://a.example/ HTTP/1.1\r\nHost: a.exam").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_body_or_tunnel_that_stands_still_is_ended() {
    let address = echo().await;
    let port = address.port();
    let rules = [format!("m.example:{port} in 127.0.0.1")];
    let mut world = world_with(&rules, |options| {
        options.raw_ports = vec![port];
        options.limits.idle = Duration::from_millis(100);
    });
    world.names.add("m.example", &[&["127.0.0.1"]]);
    let (mut stream, head) = world.connect(&format!("m.example:{port}")).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(stream.read(&mut [0; 16]).await.expect("closed in order"), 0);
    assert_eq!(world.record().await.outcome, Outcome::TimedOut);
    let half = format!(
        "POST http://m.example:{port}/ HTTP/1.1\r\nHost: m.example:{port}\r\nContent-Length: 9\r\n\r\nabc"
    );
    let answer = world.send(half.as_bytes()).await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_ne!(world.record().await.outcome, Outcome::Done);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_and_tunnels_count() {
    let address = echo().await;
    let port = address.port();
    let rules = [format!("m.example:{port} in 127.0.0.1")];
    let world = world_with(&rules, |options| {
        options.raw_ports = vec![port];
        options.limits.connections = 1;
    });
    world.names.add("m.example", &[&["127.0.0.1"]]);
    let (first, head) = world.connect(&format!("m.example:{port}")).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let target = format!("m.example:{port}");
    let second = world.connect(&target);
    tokio::pin!(second);
    let waited = tokio::time::timeout(Duration::from_millis(100), &mut second).await;
    assert!(waited.is_err(), "the second connection was served beside the first");
    drop(first);
    let (_, head) = second.await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[tokio::test]
async fn a_tunnel_carries_tls_for_its_own_host_and_nothing_else() {
    let address = echo().await;
    let port = address.port();
    let mut world = world(&[format!("m.example:{port} in 127.0.0.1")]);
    world.names.add("m.example", &[&["127.0.0.1"]]);
    let target = format!("M.example:{port}");

    let hello = client_hello("m.example");
    let (mut stream, head) = world.connect(&target).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    // In two pieces, as a network may deliver it.
    stream.write_all(&hello[..7]).await.expect("sent");
    stream.flush().await.expect("sent");
    stream.write_all(&hello[7..]).await.expect("sent");
    let mut back = vec![0; hello.len()];
    stream.read_exact(&mut back).await.expect("the echo");
    assert_eq!(back, hello);
    stream.write_all(b"more").await.expect("sent");
    stream.shutdown().await.expect("closed");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("the echo");
    assert_eq!(rest, b"more");
    let record = world.record().await;
    let length = hello.len() as u64 + 4;
    assert_eq!(
        (record.outcome, record.bytes_up, record.bytes_down),
        (Outcome::Done, length, length)
    );

    for (first, why) in [
        (
            client_hello("evil.example"),
            "the TLS handshake names `evil.example` in a tunnel to `m.example`",
        ),
        (client_hello("1.1.1.1"), "the TLS handshake names no host"),
        (b"SSH-2.0-OpenSSH_9\r\n".to_vec(), "the tunnel does not begin with a TLS handshake"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "the tunnel does not begin with a TLS handshake"),
    ] {
        let (mut stream, head) = world.connect(&target).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        stream.write_all(&first).await.expect("sent");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert_eq!(rest, b"", "{why}");
        let record = world.record().await;
        assert_eq!(
            (record.effect, record.outcome, record.bytes_up),
            (Effect::Deny, Outcome::Refused, 0)
        );
        assert!(record.why.starts_with(why), "{}", record.why);
    }
}

#[tokio::test]
async fn an_operators_proxy_is_used_for_the_outside_and_not_for_the_inside() {
    // The operator's proxy: it opens tunnels by echoing, and answers plain requests.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy_address = listener.local_addr().expect("an address");
    let (sender, mut seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let head = head(&mut stream).await;
                let connect = head.starts_with("CONNECT");
                sender.send(head).unwrap();
                if connect {
                    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                } else {
                    stream.write_all(OK.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let (inside, _inside_seen) = origin(OK).await;
    let inside_port = inside.port();
    let rules = [
        "*.acme.example:443".to_owned(),
        "*.acme.example:80".to_owned(),
        format!("mirror.corp:{inside_port} in 127.0.0.1"),
    ];
    let mut world = world_with(&rules, |options| {
        let text = format!("http://me:p%40ss@{proxy_address}");
        options.proxy = Some(Proxy::parse(&text).expect("a proxy"));
        assert!(!format!("{:?}", options.proxy).contains("p@ss"));
    });
    world.names.add("mirror.corp", &[&["127.0.0.1"]]);
    world.names.add("public.acme.example", &[&["1.1.1.1"]]);
    world.names.add("private.acme.example", &[&["10.0.0.1"]]);

    let hello = client_hello("only-outside.acme.example");
    let (mut stream, head) = world.connect("only-outside.acme.example:443").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    stream.write_all(&hello).await.expect("sent");
    let mut back = vec![0; hello.len()];
    stream.read_exact(&mut back).await.expect("the echo");
    assert_eq!(back, hello);
    drop(stream);
    let asked = seen.recv().await.expect("a CONNECT").to_lowercase();
    assert!(asked.starts_with("connect only-outside.acme.example:443 http/1.1\r\n"), "{asked}");
    assert!(asked.contains("proxy-authorization: basic bwu6cebzcw==\r\n"), "{asked}");
    let record = world.record().await;
    assert_eq!((record.effect, record.address), (Effect::Allow, None));

    let answer = world.get("http://public.acme.example/x").await;
    assert!(answer.ends_with("hello"), "{answer}");
    let asked = seen.recv().await.expect("a request").to_lowercase();
    assert!(asked.starts_with("get http://public.acme.example:80/x http/1.1\r\n"), "{asked}");
    assert!(asked.contains("proxy-authorization: basic bwu6cebzcw==\r\n"), "{asked}");

    let answer = world.get("http://private.acme.example/").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let answer = world.get(&format!("http://mirror.corp:{inside_port}/")).await;
    assert!(answer.ends_with("hello"), "{answer}");
    assert!(seen.try_recv().is_err(), "the inside was reached directly");
}

#[test]
fn a_proxy_address_that_is_none_is_refused_without_repeating_it() {
    for text in [
        "",
        "proxy:3128",
        "https://proxy:3128",
        "http://u:pa%zz@proxy",
        "http://proxy/path",
        "socks5://u:secret@p",
    ] {
        let error = Proxy::parse(text).expect_err(text).to_string();
        assert!(!error.contains("secret") && error.contains("http://"), "{error}");
    }
}

#[tokio::test]
async fn stopping_the_door_ends_its_tunnels() {
    let address = echo().await;
    let port = address.port();
    let mut world = world_with(&[format!("m.example:{port} in 127.0.0.1")], |options| {
        options.raw_ports = vec![port]
    });
    world.names.add("m.example", &[&["127.0.0.1"]]);
    let (mut stream, head) = world.connect(&format!("m.example:{port}")).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    world.door.stop().await;
    let _ = stream.read(&mut [0; 16]).await;
    assert_eq!(world.records.recv().await.expect("a record").outcome, Outcome::Cut);
}
