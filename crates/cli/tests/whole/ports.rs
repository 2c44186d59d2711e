//! Ports of a real environment with a real service in it: published and closed from the command line, reached by
//! an HTTP client, a WebSocket client and a browser.

use std::{net::SocketAddr, sync::Once};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use crate::{
    env::tools,
    world::{Up, World},
};

const SERVICES: &str = "\
services:
  web:
    start: exec node service.mjs 3000
    ready: grep -q 0100007F:0BB8 /proc/net/tcp
    ports: [3000]
";
const DEVCONTAINER: &str = r#"{ "forwardPorts": [5173],
    "portsAttributes": { "5173": { "label": "dev server" } } }"#;

/// A server with an environment `one`, in which a service listens on port 3000.
struct Stage {
    world: World,
    _up: Up,
    server: SocketAddr,
    token: String,
}

impl Stage {
    /// Absent, and said, where Node is missing.
    fn new(test: &str) -> Option<Self> {
        let node = std::process::Command::new("node").arg("--version").output();
        if !node.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED {test}: needs node: apt install nodejs");
            assert!(std::env::var_os("WINDLASS_TEST_ALL").is_none(), "{test} needs node");
            return None;
        }
        let world = World::new();
        let page = include_str!("../../../server/tests/browser/ports.html");
        let files = [
            (".windlass/environment.yaml", SERVICES),
            (".devcontainer.json", DEVCONTAINER),
            ("service.mjs", include_str!("service.mjs")),
            ("page.html", page),
        ];
        let repository = world.repository("api", &files);
        let up = world.up(&[]);
        world.run(&["project", "add", repository.to_str().expect("UTF-8")]).says(0, &[]);
        let made = world.run(&["env", "create", "api", "--name", "one"]);
        made.says(0, &["running"]);
        assert!(!made.out.contains("recovery"), "{made}");
        let connection = std::fs::read_to_string(world.path("data/connection.json"));
        let connection: Value = serde_json::from_str(&connection.expect("a server")).expect("JSON");
        let text = |name: &str| connection[name].as_str().expect("a text").to_owned();
        let server =
            text("url").strip_prefix("http://").expect("a URL").parse().expect("an address");
        Some(Self { server, token: text("token"), world, _up: up })
    }

    /// The address of the port, published.
    fn published(&self) -> String {
        let told = self.world.json(&["--json", "env", "publish", "one", "3000"]);
        told["url"].as_str().expect("an address").to_owned()
    }

    async fn socket(&self, url: &str) -> WebSocketStream<TcpStream> {
        let stream = TcpStream::connect(self.server).await.expect("connected");
        let url = format!("{}socket", url.replace("http", "ws"));
        let mut ask = url.into_client_request().expect("a request");
        let token = format!("Bearer {}", self.token).parse().expect("a value");
        ask.headers_mut().insert("windlass-authorization", token);
        tokio_tungstenite::client_async(ask, stream).await.expect("open").0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_is_published_reached_by_programs_and_closed() {
    let Some(stage) = Stage::new("a_port_is_published_reached_by_programs_and_closed") else {
        return;
    };
    let world = &stage.world;
    let offered = world.run(&["env", "ports", "one"]);
    offered.says(0, &["3000", "web", "5173", "dev server", "windlass env publish one 3000"]);
    for bad in ["0", "70000", "http"] {
        world.run(&["env", "publish", "one", bad]).says(2, &["invalid value"]);
    }
    world
        .run(&["env", "publish", "one", "3000", "--admission", "public"])
        .says(7, &["ports-off", "`organisation` at most"]);
    let url = stage.published();
    assert!(url.starts_with("http://3000--") && url.contains(".localhost:"), "{url}");
    let listed = world.json(&["--json", "env", "ports", "one"]);
    let port = json!({ "port": 3000, "name": "web", "admission": "owner", "url": url });
    assert_eq!(
        listed,
        json!({
            "published": [port],
            "offered": [{ "port": 5173, "name": "dev server" }],
            "ceiling": "organisation",
        })
    );

    let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let name = host.rsplit_once(':').expect("a port").0;
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let client = reqwest::Client::builder().no_proxy().resolve(name, stage.server).build();
    let client = client.expect("a client");
    let nobody = client.get(format!("{url}told")).send().await.expect("answered");
    assert_eq!(nobody.status(), 401);
    let by = |path: &str| {
        let token = format!("Bearer {}", stage.token);
        client.get(format!("{url}{path}")).header("windlass-authorization", token)
    };
    for _ in 0..3 {
        let told: Value = by("told").send().await.expect("answered").json().await.expect("JSON");
        assert_eq!(
            (&told["method"], &told["headers"]["host"], &told["headers"]["x-forwarded-host"]),
            (&json!("GET"), &json!("localhost:3000"), &json!(host)),
        );
        assert_eq!(told["headers"]["windlass-authorization"], Value::Null);
    }
    let mut socket = stage.socket(&url).await;
    socket.send(Message::text("hello")).await.expect("said");
    assert_eq!(socket.next().await.expect("more").expect("a message"), Message::text("hello"));
    let mut events = by("events").send().await.expect("answered");
    assert_eq!(events.chunk().await.expect("a piece").expect("a piece"), "data: 1\n\n");

    world.run(&["env", "unpublish", "one", "3000"]).says(0, &["Port 3000 is closed."]);
    while let Some(Ok(said)) = socket.next().await {
        assert!(said.is_close(), "{said}");
    }
    assert!(events.chunk().await.is_err(), "it is broken off, not ended");
    assert_eq!(by("told").send().await.expect("answered").status(), 404);
    world.run(&["env", "unpublish", "one", "3000"]).says(1, &["not-found"]);
    let journal = world.run(&["env", "journal", "one"]);
    journal
        .says(0, &["published port 3000 (web) for owner", "went to port 3000", "closed port 3000"]);

    // What is published stays so over a stop; what is open does not.
    assert_eq!(stage.published(), url);
    let mut socket = stage.socket(&url).await;
    world.run(&["env", "stop", "one"]).says(0, &["stopped"]);
    while let Some(Ok(said)) = socket.next().await {
        assert!(said.is_close(), "{said}");
    }
    let down = by("told").send().await.expect("answered");
    assert_eq!(down.status(), 409);
    assert!(down.text().await.expect("text").contains("the environment is stopped"));
}

#[test]
fn a_browser_is_let_in_and_the_service_can_do_nothing_to_the_server() {
    let test = "a_browser_is_let_in_and_the_service_can_do_nothing_to_the_server";
    let Some(tools) = tools::Tools::find(test) else { return };
    let Some(stage) = Stage::new(test) else { return };
    let told = stage.world.json(&["--json", "user", "invite", "ada", "--role", "admin"]);
    let link = told["sign_in_link"].as_str().expect("a link");
    let environment = stage.world.json(&["--json", "env", "show", "one"]);
    let id = environment["id"].as_str().expect("an id");
    let output = tools.script("ports.mjs").args([link, &stage.published(), id]).output();
    let output = output.expect("node starts");
    assert!(
        output.status.success(),
        "see {}:\n{}",
        tools.pictures().display(),
        String::from_utf8_lossy(&output.stderr)
    );
}
