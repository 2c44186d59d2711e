//! Published ports, with a service that is really there, an HTTP client and a WebSocket client: who is let in,
//! what crosses, and what is cut.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{
        Request,
        ws::{Message as Said, WebSocketUpgrade},
    },
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
    routing::any,
};
use futures::{SinkExt as _, StreamExt as _};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest as _, handshake::client::Request as Ask},
};
use windlass_run::{Duration, environment::Admission};
use windlass_server::{Options, clock, ports};
use windlass_wire::api::account::Role;

use super::{
    browser::tools,
    house::{House, expect, problem},
    scripted_keeper::Keeper,
};

/// A service: it tells what it was asked, sends back what it is sent, and has streams without an end.
fn service() -> Router {
    let told = async |request: Request| -> Response {
        let accept = request.headers().get(header::ACCEPT).and_then(|kind| kind.to_str().ok());
        if accept.is_some_and(|kind| kind.contains("text/html"))
            && request.uri().path() == "/deep/page"
        {
            return axum::response::Html(include_str!("../browser/ports.html")).into_response();
        }
        let headers = request.headers().iter().map(|(name, value)| {
            (name.to_string(), Value::from(value.to_str().unwrap_or_default()))
        });
        let headers: serde_json::Map<String, Value> = headers.collect();
        let (method, path) = (request.method().to_string(), request.uri().to_string());
        let told = json!({ "method": method, "path": path, "headers": headers });
        let own = [
            (header::LOCATION, "http://localhost/never"),
            (header::SET_COOKIE, "windlass_port=stolen; Path=/"),
        ];
        (own, Json(told)).into_response()
    };
    let echo = async |body: Body| -> Response { Response::new(body) };
    let events = async || -> Response {
        let first = futures::stream::once(async { Ok::<_, std::io::Error>("data: 1\n\n") });
        let body = Body::from_stream(first.chain(futures::stream::pending()));
        ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
    };
    let socket = async |upgrade: WebSocketUpgrade| -> Response {
        upgrade.on_upgrade(async |mut socket| {
            while let Some(Ok(said)) = socket.recv().await {
                if let Said::Text(_) | Said::Binary(_) = said
                    && socket.send(said).await.is_err()
                {
                    return;
                }
            }
        })
    };
    Router::new()
        .route("/echo", any(echo))
        .route("/events", any(events))
        .route("/socket", any(socket))
        .fallback(told)
}

/// A server with an environment that runs, and a service in it.
struct Stage {
    house: House,
    _keeper: Keeper,
    environment: Value,
    port: u16,
    clock: Arc<AtomicI64>,
}

impl Stage {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let clock = Arc::new(AtomicI64::new(0));
        let ahead = Arc::clone(&clock);
        let house = House::with(|options| {
            options.clock = Arc::new(move || {
                clock::system()() + Duration::from_secs(ahead.load(Ordering::SeqCst))
            });
            options.ports.ceiling = Some(Admission::Public);
            change(options);
        })
        .await;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move { axum::serve(listener, service()).await });
        house.project("shop").await;
        let keeper = Keeper::new(&house, &[(port, "web")]).await;
        let new = json!({ "project": "shop", "name": "one" });
        let environment = house.post("/api/v1/environments", new).await;
        let stage = Self { house, _keeper: keeper, environment, port, clock };
        stage.until("running").await;
        stage
    }

    async fn until(&self, phase: &str) {
        let mut events =
            super::house::Events::open(self.house.request(Method::GET, "/api/v1/feed?after=0"))
                .await;
        while self.house.get("/api/v1/environments/one").await["phase"] != phase {
            events.next().await.expect("the feed goes on");
        }
    }

    fn api(&self, method: Method, port: impl std::fmt::Display) -> RequestBuilder {
        let path = format!("/api/v1/environments/one/ports/{port}");
        self.house.request(method, &path)
    }

    async fn publish(&self, admission: &str) -> Value {
        let wanted = json!({ "admission": admission });
        expect(StatusCode::OK, self.api(Method::PUT, self.port).json(&wanted)).await
    }

    fn label(&self) -> String {
        let id = self.environment["id"].as_str().expect("an id");
        format!("{}--{}", self.port, id.strip_prefix("env_").expect("an environment's"))
    }

    fn authority(&self) -> String {
        let port = self.house.url.rsplit_once(':').expect("a port").1;
        format!("{}.localhost:{port}", self.label())
    }

    /// A request at the port's host, of nobody.
    fn at(&self, method: Method, path: &str) -> RequestBuilder {
        self.house
            .http
            .request(method, format!("{}{path}", self.house.url))
            .header("host", self.authority())
    }

    /// The same of a program with a token.
    fn by(&self, token: &str, path: &str) -> RequestBuilder {
        self.at(Method::GET, path).header("windlass-authorization", format!("Bearer {token}"))
    }

    /// The same of a browser that goes there.
    fn going(&self, path: &str, cookies: &str) -> RequestBuilder {
        self.at(Method::GET, path)
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .header("sec-fetch-site", "none")
            .header("accept", "text/html")
            .header("cookie", cookies)
    }

    async fn status(&self, request: RequestBuilder) -> u16 {
        request.send().await.expect("answered").status().as_u16()
    }

    /// A WebSocket to the service: open, or the status of the refusal.
    async fn socket(&self, headers: &[(&'static str, &str)]) -> Result<Socket, u16> {
        let address = self.house.url.strip_prefix("http://").expect("a URL");
        let stream = TcpStream::connect(address).await.expect("connected");
        let url = format!("ws://{}/socket", self.authority());
        let mut ask: Ask = url.into_client_request().expect("a request");
        for (name, value) in headers {
            ask.headers_mut().insert(*name, value.parse().expect("a value"));
        }
        match tokio_tungstenite::client_async(ask, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
                Err(answer.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The session of a new user with this role, as the cookie's pair.
    async fn session(&self, name: &str, role: &str) -> String {
        let new = json!({ "name": name, "role": role });
        let invited = self.house.post("/api/v1/users", new).await;
        let link = invited["sign_in_link"].as_str().expect("a link");
        let secret = link.split("link=").nth(1).expect("a link");
        let answer = self
            .house
            .http
            .post(format!("{}/sign-in", self.house.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .body(format!("link={secret}"))
            .send()
            .await
            .expect("answered");
        cookies(answer.headers())
    }

    /// Goes to the port as a browser with this session does, to where the code is: the cookies of the port's
    /// host, and the address with the code. Absent if the server does not let them in.
    async fn handed_over(&self, path: &str, session: &str) -> Option<(String, String)> {
        let sent = self.going(path, "").send().await.expect("answered");
        assert_eq!(sent.status(), 303);
        let begun = cookies(sent.headers());
        let to = sent.headers()["location"].to_str().expect("text").to_owned();
        assert!(to.starts_with(&format!("{}/ports/enter?", self.house.url)), "{to}");
        let page =
            self.house.http.get(to).header("cookie", session).send().await.expect("answered");
        if page.status() != 200 {
            assert_eq!(page.status(), 404);
            return None;
        }
        let page = page.text().await.expect("a page");
        let code = page.split("0; url=").nth(1)?.split('"').next().expect("an address");
        Some((begun, code.to_owned()))
    }

    /// The rest of the way: the pass, and where the browser is led.
    async fn enter(&self, begun: &str, code: &str) -> reqwest::Response {
        let path = code.split_once(".localhost:").expect("a host").1;
        let path = &path[path.find('/').expect("a path")..];
        self.going(path, begun).send().await.expect("answered")
    }

    /// The whole way: the pass.
    async fn pass(&self, session: &str) -> String {
        let (begun, code) = self.handed_over("/", session).await.expect("let in");
        let entered = self.enter(&begun, &code).await;
        assert_eq!(entered.status(), 303);
        cookies(entered.headers())
    }

    async fn sign_out(&self, session: &str) {
        use sha2::{Digest as _, Sha256};
        let secret = session.split_once('=').expect("a cookie").1;
        let csrf = Sha256::digest(format!("csrf:{secret}"));
        let csrf: String = csrf.iter().map(|byte| format!("{byte:02x}")).collect();
        let request = self.house.http.post(format!("{}/sign-out", self.house.url));
        let request = request.header("cookie", session).header("sec-fetch-site", "same-origin");
        assert_eq!(self.status(request.header("x-windlass-csrf", csrf)).await, 303);
    }

    async fn wish(&self, wish: &str) {
        self.house.post(&format!("/api/v1/environments/one/{wish}"), json!({})).await;
    }
}

type Socket = WebSocketStream<TcpStream>;

/// Cookies that an answer sets, as a request has them.
fn cookies(headers: &HeaderMap) -> String {
    let set = headers.get_all(header::SET_COOKIE).iter();
    let pairs = set.map(|cookie| cookie.to_str().expect("text").split(';').next().expect("a pair"));
    pairs.filter(|pair| !pair.ends_with('=')).collect::<Vec<_>>().join("; ")
}

/// Says something and hears it again.
async fn talks(socket: &mut Socket) {
    socket.send(Message::text("hello")).await.expect("said");
    assert_eq!(socket.next().await.expect("more").expect("a message"), Message::text("hello"));
}

/// Ends when the socket was cut.
async fn cut(mut socket: Socket) {
    while let Some(Ok(said)) = socket.next().await {
        assert!(said.is_close(), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_reaches_the_service_as_if_it_were_at_localhost() {
    let stage = Stage::new().await;
    let published = stage.publish("owner").await;
    let url = format!("http://{}/", stage.authority());
    let port = stage.port;
    assert_eq!(published, json!({ "port": port, "name": "web", "admission": "owner", "url": url }));
    let origin = url.trim_end_matches('/');
    let asked = stage
        .by(&stage.house.admin, "/a%20b?c=d&e")
        .header("authorization", "Basic dTpw")
        .header("origin", origin)
        .header("cookie", "own=1; windlass_port=x")
        .header("x-forwarded-host", "evil.test");
    let answer = asked.send().await.expect("answered");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers().get("set-cookie"), None);
    assert!(answer.headers().get("content-security-policy").is_none(), "it is the service's own");
    let told: Value = answer.json().await.expect("JSON");
    assert_eq!((&told["method"], &told["path"]), (&json!("GET"), &json!("/a%20b?c=d&e")));
    assert_eq!(
        told["headers"],
        json!({
            "authorization": "Basic dTpw",
            "accept": "*/*",
            "host": format!("localhost:{port}"),
            "x-forwarded-host": stage.authority(),
            "x-forwarded-proto": "http",
            "x-forwarded-for": "127.0.0.1",
            "origin": format!("http://localhost:{port}"),
            "cookie": "own=1",
        })
    );
    // Bodies are streams both ways: the first piece is back before the second is sent.
    let (mut pieces, body) = futures::channel::mpsc::unbounded();
    let asked = stage.at(Method::POST, "/echo");
    let asked = asked.header("windlass-authorization", format!("Bearer {}", stage.house.admin));
    pieces.send(Ok::<_, std::io::Error>("one")).await.expect("sent");
    let mut answer = asked.body(reqwest::Body::wrap_stream(body)).send().await.expect("answered");
    assert_eq!(answer.chunk().await.expect("a piece").expect("a piece"), "one");
    pieces.send(Ok("two")).await.expect("sent");
    drop(pieces);
    assert_eq!(answer.text().await.expect("the rest"), "two");
    let mut socket = stage
        .socket(&[("windlass-authorization", &format!("Bearer {}", stage.house.admin))])
        .await
        .expect("open");
    talks(&mut socket).await;

    // Written down once, though it was many requests.
    let journal = stage.house.get("/api/v1/environments/one/journal").await;
    let went = |entry: &&Value| entry["what"] == format!("went to port {port}");
    assert_eq!(journal.as_array().expect("entries").iter().filter(went).count(), 1, "{journal}");
    let listed = stage.house.get("/api/v1/environments/one/ports").await;
    assert_eq!(listed, json!({ "published": [published], "offered": [], "ceiling": "public" }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_learns_whether_there_is_anything() {
    let stage = Stage::new().await;
    let stranger = stage.session("ada", "operator").await;
    let token = stage.house.token(Role::Operator).await;
    let ghost = format!("{}--{}", stage.port, "0".repeat(26));
    let probe = async |stage: &Stage, label: &str| {
        let authority = stage.authority().replace(&stage.label(), label);
        let with = |request: RequestBuilder| request.header("host", authority.clone());
        let url = format!("{}/x", stage.house.url);
        let plain = with(stage.house.http.get(&url)).send().await.expect("answered");
        let going = with(stage.house.http.get(&url)).header("accept", "text/html");
        let going = going.send().await.expect("answered");
        let to = going.headers()["location"].to_str().expect("text").replace(label, "LABEL");
        let to = to.split("&begun").next().expect("a part").to_owned();
        let page = format!("{}/ports/enter?to={label}&begun=x&path=/", stage.house.url);
        let page = stage.house.http.get(page).header("cookie", &stranger);
        let page = page.send().await.expect("answered");
        let by = with(stage.house.http.get(&url));
        let by = by.header("windlass-authorization", format!("Bearer {token}"));
        let by = problem(by.send().await.expect("answered")).await;
        let page_status = page.status().as_u16();
        let page = page.text().await.expect("text").replace(label, "LABEL");
        (problem(plain).await, going.status().as_u16(), to, page_status, page, by)
    };
    let nothing = probe(&stage, &ghost).await;
    assert_eq!((nothing.0.0.as_str(), nothing.1, nothing.3), ("not-signed-in", 303, 404));
    assert_eq!(nothing.5.0, "not-found");
    let label = stage.label();
    assert_eq!(probe(&stage, &label).await, nothing, "not published");
    stage.publish("owner").await;
    assert_eq!(probe(&stage, &label).await, nothing, "published for its owner");
    // For everybody here, it is open to them, and still not to nobody.
    stage.publish("organisation").await;
    assert_eq!(stage.status(stage.by(&token, "/")).await, 200);
    assert_eq!(stage.status(stage.at(Method::GET, "/")).await, 401);
    assert_eq!(stage.socket(&[]).await.err(), Some(401));
    stage.publish("public").await;
    assert_eq!(stage.status(stage.at(Method::GET, "/")).await, 200);
    talks(&mut stage.socket(&[("origin", "http://anywhere.test")]).await.expect("open")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_is_handed_over_once_and_led_where_it_wanted() {
    let stage = Stage::new().await;
    stage.publish("organisation").await;
    let session = stage.session("ada", "viewer").await;
    let (begun, code) = stage.handed_over("//evil.test/a?b=c", &session).await.expect("let in");
    assert!(code.starts_with(&format!("http://{}/.windlass/enter?code=", stage.authority())));
    let entered = stage.enter(&begun, &code).await;
    let origin = format!("http://{}", stage.authority());
    assert_eq!(entered.headers()["location"], format!("{origin}//evil.test/a?b=c"));
    assert_eq!(entered.headers()["referrer-policy"], "no-referrer");
    let set = entered.headers()["set-cookie"].to_str().expect("text");
    assert!(set.contains("; HttpOnly; SameSite=Lax") && !set.contains("Domain"), "{set}");
    let pass = cookies(entered.headers());
    let told = stage.going("/a", &pass).send().await.expect("answered");
    assert_eq!(told.status(), 200);
    let told: Value = told.json().await.expect("JSON");
    assert!(!told.to_string().contains("windlass_port"), "{told}");

    let spent = async |begun: &str, code: &str| {
        let refused = stage.enter(begun, code).await;
        assert!(refused.text().await.expect("a page").contains("link-spent"));
    };
    spent(&begun, &code).await;
    // By another browser, at another port, and too late.
    let (begun, code) = stage.handed_over("/", &session).await.expect("let in");
    spent("windlass_port_begun=another", &code).await;
    let (other, other_code) = stage.handed_over("/", &session).await.expect("let in");
    stage.clock.fetch_add(61, Ordering::SeqCst);
    spent(&other, &other_code).await;
    spent(&begun, "http://x.localhost:1/.windlass/enter?code=wlp_guessed").await;
    let (begun, code) = stage.handed_over("/", &session).await.expect("let in");
    let elsewhere = stage.authority().replacen(&stage.port.to_string(), "1", 1);
    let path = &code[code.find("/.windlass").expect("a path")..];
    let request = stage.house.http.get(format!("{}{path}", stage.house.url));
    let refused = request.header("host", elsewhere).header("cookie", &begun);
    assert_eq!(stage.status(refused).await, 410);
    // What it is good for, pages of neighbours can't use.
    let pass = stage.pass(&session).await;
    let by = |site: &str, mode: &str| {
        let request = stage.at(Method::GET, "/a").header("cookie", &pass);
        request.header("sec-fetch-site", site).header("sec-fetch-mode", mode)
    };
    assert_eq!(stage.status(by("same-origin", "cors")).await, 200);
    assert_eq!(stage.status(by("same-site", "cors")).await, 401);
    assert_eq!(stage.status(by("cross-site", "no-cors")).await, 401);
    let own = stage.socket(&[("cookie", &pass), ("origin", &origin)]).await;
    talks(&mut own.expect("open")).await;
    let neighbour = [("cookie", pass.as_str()), ("origin", "http://1--x.localhost")];
    assert_eq!(stage.socket(&neighbour).await.err(), Some(401));
    assert_eq!(stage.status(stage.at(Method::POST, "/a").header("cookie", &pass)).await, 401);
    // A pass ends by itself, and those who made it may come again. Last: so much later, the runner counts as
    // silent until it asks again.
    stage.clock.fetch_add(12 * 3600, Ordering::SeqCst);
    assert_eq!(stage.status(stage.going("/a", &pass)).await, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_not_any_more_is_cut_and_their_pass_is_void() {
    let stage = Stage::new().await;
    let origin = format!("http://{}", stage.authority());
    let open = async |pass: &str| -> (Socket, reqwest::Response) {
        let mut socket = stage
            .socket(&[("cookie", pass), ("origin", &origin)])
            .await
            .unwrap_or_else(|status| panic!("refused with {status}"));
        talks(&mut socket).await;
        let mut events = stage.going("/events", pass).send().await.expect("answered");
        assert_eq!(events.chunk().await.expect("a piece").expect("a piece"), "data: 1\n\n");
        (socket, events)
    };
    let over = async |(socket, mut events): (Socket, reqwest::Response), pass: &str| {
        cut(socket).await;
        assert!(events.chunk().await.is_err(), "it is broken off, not ended");
        assert_eq!(stage.status(stage.going("/a", pass)).await, 303);
        assert_eq!(stage.socket(&[("cookie", pass), ("origin", &origin)]).await.err(), Some(401));
    };
    let session = stage.session("ada", "viewer").await;

    stage.publish("organisation").await;
    let pass = stage.pass(&session).await;
    let both = open(&pass).await;
    stage.publish("owner").await;
    over(both, &pass).await;
    assert_eq!(stage.handed_over("/", &session).await, None);

    stage.publish("organisation").await;
    assert_eq!(stage.status(stage.going("/a", &pass)).await, 303, "an earlier opening's");
    let pass = stage.pass(&session).await;
    let both = open(&pass).await;
    assert_eq!(stage.status(stage.api(Method::DELETE, stage.port)).await, 204);
    over(both, &pass).await;

    stage.publish("organisation").await;
    let pass = stage.pass(&session).await;
    let both = open(&pass).await;
    stage.wish("stop").await;
    over(both, &pass).await;
    stage.until("stopped").await;
    let sent = stage.going("/", "").send().await.expect("answered");
    let to = sent.headers()["location"].to_str().expect("text").to_owned();
    let page = stage.house.http.get(to).header("cookie", &session).send().await.expect("answered");
    let page = page.text().await.expect("a page");
    assert!(page.contains("The environment is stopped") && !page.contains("Start it"), "{page}");
    stage.wish("start").await;
    stage.until("running").await;
    assert_eq!(stage.status(stage.going("/a", &pass)).await, 303, "of an earlier run");

    let pass = stage.pass(&session).await;
    let both = open(&pass).await;
    stage.sign_out(&session).await;
    over(both, &pass).await;

    let new = json!({ "name": "visitor", "role": "viewer" });
    let made = stage.house.post("/api/v1/tokens", new).await;
    let secret = format!("Bearer {}", made["secret"].as_str().expect("a secret"));
    let by_token = [("windlass-authorization", secret.as_str())];
    let mut socket = stage.socket(&by_token).await.expect("open");
    talks(&mut socket).await;
    let token_id = made["token"]["id"].as_str().expect("an id");
    let path = format!("/api/v1/tokens/{token_id}");
    assert!(
        stage
            .house
            .request(Method::DELETE, &path)
            .send()
            .await
            .expect("answered")
            .status()
            .is_success()
    );
    cut(socket).await;
    assert_eq!(stage.socket(&by_token).await.err(), Some(401));

    stage.publish("public").await;
    let mut socket = stage.socket(&[]).await.expect("open");
    talks(&mut socket).await;
    let path = "/api/v1/environments/one";
    assert!(
        stage
            .house
            .request(Method::DELETE, path)
            .send()
            .await
            .expect("answered")
            .status()
            .is_success()
    );
    cut(socket).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lower_ceiling_shuts_what_was_published_for_more() {
    let mut stage = Stage::new().await;
    stage.publish("public").await;
    let mut socket = stage.socket(&[]).await.expect("open");
    talks(&mut socket).await;
    stage.house.handle.take().expect("running").stop().await;
    cut(socket).await;
    let mut options = super::house::options(stage.house.folder.path());
    options.ports.ceiling = Some(Admission::Organisation);
    let handle = windlass_server::Server::start(stage.house.store.clone(), options).await;
    let handle = handle.expect("the server starts");
    stage.house.url = handle.url().to_owned();
    stage.house.handle = Some(handle);
    assert_eq!(stage.status(stage.at(Method::GET, "/")).await, 401);
    assert_eq!(stage.status(stage.by(&stage.house.admin, "/")).await, 404);
    let listed = stage.house.get("/api/v1/environments/one/ports").await;
    let shut = listed["published"][0]["shut"].as_str().expect("a reason");
    assert!(shut.contains("`organisation` at most, not for `public`"), "{shut}");
    assert_eq!(listed["ceiling"], "organisation");
    let wanted = stage.api(Method::PUT, stage.port).json(&json!({ "admission": "public" }));
    let (code, told) = problem(wanted.send().await.expect("answered")).await;
    assert_eq!((code.as_str(), &told["place"]), ("ports-off", &json!("admission")), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_in_words() {
    let stage = Stage::new().await;
    let put = async |port: &str, body: Value| {
        problem(stage.api(Method::PUT, port).json(&body).send().await.expect("answered")).await
    };
    for port in ["0", "70000", "-1", "http"] {
        let (code, told) = put(port, json!({})).await;
        assert_eq!((code.as_str(), &told["place"]), ("bad-request", &json!("port")), "{told}");
        assert!(told["detail"].as_str().expect("words").contains("1 to 65535"), "{told}");
    }
    assert_eq!(put("80", json!({ "admission": "everybody" })).await.0, "bad-request");
    assert_eq!(put("80", json!({ "name": "a\nb" })).await.0, "bad-request");
    assert_eq!(put("80", json!({ "port": 80 })).await.0, "bad-request");
    let gone = stage.api(Method::DELETE, 80).send().await.expect("answered");
    assert_eq!(problem(gone).await.0, "not-found");
    let other = stage.house.token(Role::Operator).await;
    let path = "/api/v1/environments/one/ports/80";
    let strange = stage.house.request_as(&other, Method::PUT, path).json(&json!({}));
    assert_eq!(problem(strange.send().await.expect("answered")).await.0, "forbidden");
    // Published twice is published once.
    assert_eq!(stage.publish("owner").await, stage.publish("owner").await);

    // Nobody listens on it.
    expect(StatusCode::OK, stage.api(Method::PUT, 1).json(&json!({}))).await;
    let silent = stage.by(&stage.house.admin, "/");
    let host = stage.authority().replacen(&stage.port.to_string(), "1", 1);
    let silent = stage
        .house
        .http
        .execute({
            let mut request = silent.build().expect("a request");
            request.headers_mut().insert("host", host.parse().expect("a host"));
            request
        })
        .await
        .expect("answered");
    assert_eq!(silent.status(), 502);
    let (code, told) = problem(silent).await;
    assert_eq!(code, "port-silent");
    assert!(
        told["detail"].as_str().expect("words").contains("nothing listens on port 1"),
        "{told}"
    );

    // Hosts that no port could have, and paths that are the server's at those that one has.
    let at = |host: &str, path: &str| {
        stage.house.http.get(format!("{}{path}", stage.house.url)).header("host", host.to_owned())
    };
    for host in ["x.localhost", "0--x.localhost", "8080--short.localhost"] {
        assert_eq!(stage.status(at(host, "/api/v1/version")).await, 404, "{host}");
    }
    assert_eq!(stage.status(at(&stage.authority(), "/.windlass/nothing")).await, 404);
    assert_eq!(stage.status(at(&stage.authority(), "/.windlass/tokens.css")).await, 200);
    let version = stage.by(&stage.house.admin, "/api/v1/version").send().await.expect("answered");
    let version: Value = version.json().await.expect("JSON");
    assert_eq!(version["path"], "/api/v1/version", "the service answers, not the server");
    // A token of this server never reaches the service.
    stage.publish("public").await;
    let misled = stage.at(Method::GET, "/").bearer_auth(&stage.house.admin);
    let (code, told) = problem(misled.send().await.expect("answered")).await;
    assert_eq!(code, "not-signed-in");
    assert!(told["detail"].as_str().expect("words").contains("Windlass-Authorization"), "{told}");
    assert_eq!(stage.status(stage.at(Method::GET, "/").bearer_auth("wl_anothers")).await, 200);
    let long = stage.at(Method::GET, "/").header("x-long", "x".repeat(40_000));
    assert_eq!(stage.status(long).await, 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_host_for_ports_says_what_to_configure() {
    let off = House::with(|options| options.ports.ceiling = None).await;
    off.project("shop").await;
    off.post("/api/v1/environments", json!({ "project": "shop", "name": "one" })).await;
    let publish = off.request(Method::PUT, "/api/v1/environments/one/ports/80").json(&json!({}));
    let (code, told) = problem(publish.send().await.expect("answered")).await;
    assert_eq!(code, "ports-off");
    assert!(told["detail"].as_str().expect("words").contains("--ports-admission"), "{told}");

    let away = House::with(|options| {
        options.public_url = Some("https://windlass.example.com".to_owned());
    })
    .await;
    away.project("shop").await;
    away.post("/api/v1/environments", json!({ "project": "shop", "name": "one" })).await;
    let publish = away.request(Method::PUT, "/api/v1/environments/one/ports/80").json(&json!({}));
    let (code, told) = problem(publish.send().await.expect("answered")).await;
    assert_eq!(code, "ports-off");
    assert!(told["detail"].as_str().expect("words").contains("--ports-host HOST"), "{told}");

    let folder = tempfile::tempdir().expect("a folder");
    let store = super::house::store(folder.path()).await;
    let mut options = super::house::options(folder.path());
    options.ports = ports::Options { host: Some("127.0.0.1".into()), ..Default::default() };
    let refused = windlass_server::Server::start(store, options).await.err().expect("refused");
    assert!(refused.to_string().contains("can't be the host of ports"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_of_the_same_site_can_do_nothing_to_the_server() {
    let test = "a_service_of_the_same_site_can_do_nothing_to_the_server";
    let Some(tools) = tools::Tools::find(test) else { return };
    // The public address names the port, so it must be known before.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let listen = listener.local_addr().expect("an address");
    drop(listener);
    let stage = Stage::with(|options| {
        options.listen = listen;
        options.public_url = Some(format!("http://app.windlass.test:{}", listen.port()));
        options.ports.host = Some("ports.windlass.test".to_owned());
    })
    .await;
    let published = stage.publish("organisation").await;
    let address = published["url"].as_str().expect("an address");
    assert!(address.ends_with(&format!(".ports.windlass.test:{}/", listen.port())), "{address}");
    let new = json!({ "name": "ada", "role": "admin" });
    let invited = stage.house.post("/api/v1/users", new).await;
    let link = invited["sign_in_link"].as_str().expect("a link");
    let id = stage.environment["id"].as_str().expect("an id");
    let mut script = tools.script("ports.mjs");
    script.args([link, address, id, "MAP *.windlass.test 127.0.0.1"]);
    let output = tokio::process::Command::from(script).kill_on_drop(true).output().await;
    let output = output.expect("node starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "see {}:\n{said}", tools.pictures().display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_https_cookies_are_the_hosts_own_and_http_2_is_spoken() {
    let house = House::with(|options| {
        options.tls = windlass_server::Tls::SelfMade { names: vec!["*.localhost".to_owned()] };
    })
    .await;
    let name = format!("3000--{}.localhost", "0".repeat(26));
    let address = house.handle().address();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .resolve(&name, address)
        .build()
        .expect("a client");
    let url = format!("https://{name}:{}/a", address.port());
    let sent = client.get(url).header("accept", "text/html").send().await.expect("answered");
    assert_eq!((sent.status().as_u16(), sent.version()), (303, reqwest::Version::HTTP_2));
    let cookie = sent.headers()["set-cookie"].to_str().expect("text");
    assert!(cookie.starts_with("__Host-windlass_port_begun="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=600; Secure"), "{cookie}");
    let to = sent.headers()["location"].to_str().expect("text");
    assert!(to.starts_with(&format!("{}/ports/enter?to=3000--", house.handle().url())), "{to}");
}
