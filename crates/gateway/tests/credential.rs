//! Credentials that the web door adds, over real sockets on loopback: what leaves has them, what
//! comes back has not, and nothing else is reached with them.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures::future::BoxFuture;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use windlass_gateway::{
    Door, Secret, upstream,
    web::{self, Credential, Credentials, Options, Outcome, Record, Resolver},
};
use windlass_policy::{
    network::{Effect, Layer, LayerText, Network},
    secrets::Injection,
};

const VALUE: &str = "hunter2hunter2-token";

/// Every name is this machine.
struct Here;

impl Resolver for Here {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

struct World {
    door: Door,
    credentials: Credentials,
    records: mpsc::UnboundedReceiver<Record>,
}

fn world(port: u16, certificates: &str) -> World {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let allow = Some(vec![format!("api.example:{port} in 127.0.0.1")]);
    let text = LayerText { allow, deny: Vec::new() };
    let network = Network::nothing().with_layer(Layer::Operator, &text).expect("good rules");
    let (sender, records) = mpsc::unbounded_channel();
    let sink = move |record| sender.send(record).expect("someone listens");
    let mut options = Options::new(network, Arc::new(sink));
    options.resolver = Arc::new(Here);
    options.tls = upstream::tls(certificates.as_bytes()).ok();
    let credentials = options.credentials.clone();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    World { door: web::serve(listener, options).expect("a door"), credentials, records }
}

impl World {
    fn give(&self, change: impl FnOnce(&mut Injection), url: &str) {
        let mut injection = Injection {
            url: url.to_owned(),
            header: "authorization".to_owned(),
            template: "Bearer {}".to_owned(),
            user: None,
            methods: vec!["GET".to_owned(), "HEAD".to_owned()],
        };
        change(&mut injection);
        let credential = Credential::new("API", &injection, &Secret::new(VALUE));
        self.credentials.replace(vec![credential.expect("a credential")]);
    }

    async fn ask(&self, line: &str, more: &str) -> String {
        let mut stream = TcpStream::connect(self.door.address()).await.expect("the door");
        let request =
            format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Answers one request with its own head, in a header and in the body, after these header lines.
async fn mirror<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, lines: &str) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return String::new(),
        }
    }
    let seen = String::from_utf8_lossy(&head).into_owned();
    let sent = seen.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or("none");
    let answer = format!(
        "HTTP/1.1 200 OK\r\nX-Sent: {sent}\r\nSet-Cookie: a=b\r\nContent-Length: {}\r\n{lines}\r\n{seen}",
        seen.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    seen
}

async fn origin(
    lines: &'static str,
    tls: Option<tokio_rustls::TlsAcceptor>,
) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let head = match &tls {
                None => mirror(stream, lines).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => mirror(stream, lines).await,
                    Err(_) => continue,
                },
            };
            let _ = sender.send(head);
        }
    });
    (address, seen)
}

#[tokio::test]
async fn what_leaves_has_the_credential_and_what_comes_back_has_not() {
    let (address, mut seen) = origin("", None).await;
    let port = address.port();
    let mut world = world(port, "");
    world.give(|_| {}, &format!("http://api.example:{port}/v1/"));
    let more =
        "Authorization: Bearer mine\r\nCookie: a=b\r\nAccept-Encoding: gzip\r\nX-Kept: yes\r\n";
    let answer = world.ask("GET /credential/API/items?page=2", more).await;
    let seen = seen.recv().await.expect("a request");
    let lower = seen.to_lowercase();
    assert!(seen.starts_with("GET /v1/items?page=2 HTTP/1.1\r\n"), "{seen}");
    assert!(lower.contains(&format!("\r\nauthorization: bearer {VALUE}\r\n")), "{seen}");
    assert!(lower.contains(&format!("\r\nhost: api.example:{port}\r\n")), "{seen}");
    assert!(lower.contains("\r\naccept-encoding: identity\r\n"), "{seen}");
    assert!(seen.contains("yes") && !seen.contains("mine") && !lower.contains("cookie"), "{seen}");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("[redacted:API]") && !answer.contains("hunter2"), "{answer}");
    assert!(!answer.to_lowercase().contains("set-cookie"), "{answer}");
    let record = world.records.recv().await.expect("a record");
    assert_eq!((record.effect, record.outcome), (Effect::Allow, Outcome::Done));
    assert_eq!((record.host.as_str(), record.method.as_str()), ("api.example", "GET"));
}

#[tokio::test]
async fn a_password_leaves_as_http_basic_and_is_found_in_the_answer_too() {
    let (address, mut seen) = origin("", None).await;
    let port = address.port();
    let world = world(port, "");
    let with_user = |injection: &mut Injection| injection.user = Some("me".to_owned());
    world.give(with_user, &format!("http://api.example:{port}"));
    let answer = world.ask("GET /credential/API/", "").await;
    // base64("me:hunter2hunter2-token"), by another tool.
    let pair = "bWU6aHVudGVyMmh1bnRlcjItdG9rZW4=";
    let seen = seen.recv().await.expect("a request");
    assert!(seen.contains(&format!("authorization: Basic {pair}\r\n")), "{seen}");
    assert!(!answer.contains(pair) && answer.contains("[redacted:API]"), "{answer}");
}

#[tokio::test]
async fn nothing_else_is_reached_and_nothing_is_written() {
    let (address, mut seen) = origin("", None).await;
    let port = address.port();
    let mut world = world(port, "");
    world.give(|_| {}, &format!("http://api.example:{port}/v1"));
    let refused = [
        ("POST /credential/API/items", "403", "not for POST requests"),
        ("GET /credential/API/../admin", "403", "the path has"),
        ("GET /credential/API/%2E%2e/admin", "403", "the path has"),
        ("GET /credential/API/a%2fb", "403", "the path has"),
        ("GET /credential/OTHER/items", "404", "no credential of that name"),
    ];
    for (line, status, why) in refused {
        let answer = world.ask(line, "").await;
        assert!(answer.contains(status) && answer.contains(why), "{line}: {answer}");
    }
    world.give(|_| {}, &format!("http://elsewhere.example:{port}/"));
    let answer = world.ask("GET /credential/API/", "").await;
    assert!(answer.contains("403") && answer.contains("elsewhere.example"), "{answer}");
    world.credentials.replace(Vec::new());
    assert!(world.ask("GET /credential/API/", "").await.contains("404"));
    assert!(seen.try_recv().is_err(), "nothing was asked of the origin");
    for _ in 0..5 {
        let record = world.records.recv().await.expect("a record");
        assert_eq!((record.effect, record.outcome), (Effect::Deny, Outcome::Refused));
    }
}

#[tokio::test]
async fn an_answer_that_can_not_be_looked_through_is_kept_back() {
    let (address, _seen) = origin("Content-Encoding: gzip\r\n", None).await;
    let port = address.port();
    let world = world(port, "");
    world.give(|_| {}, &format!("http://api.example:{port}/"));
    let answer = world.ask("GET /credential/API/", "").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(answer.contains("compressed") && !answer.contains("hunter2"), "{answer}");
}

#[tokio::test]
async fn a_place_over_tls_must_prove_who_it_is() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
        .expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["api.example".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    let private = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (address, mut seen) = origin("", Some(acceptor)).await;
    let port = address.port();

    let trusting = world(port, &authority.pem());
    trusting.give(|_| {}, &format!("https://api.example:{port}/"));
    let answer = trusting.ask("GET /credential/API/a", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(seen.recv().await.expect("a request").contains(VALUE));

    let stranger = CertifiedIssuer::self_signed(
        CertificateParams::new(Vec::new()).expect("parameters"),
        KeyPair::generate().expect("a key"),
    )
    .expect("an authority");
    for (certificates, why) in [(stranger.pem(), "certificate"), (String::new(), "no certificates")]
    {
        let doubting = world(port, &certificates);
        doubting.give(|_| {}, &format!("https://api.example:{port}/"));
        let answer = doubting.ask("GET /credential/API/a", "").await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains(why), "{answer}");
    }
    assert!(seen.try_recv().is_err(), "nothing was said to whom nobody trusts");
}
