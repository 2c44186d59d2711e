//! A server with everything around it: a store, tokens, a user's repository, a client.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use windlass_server::{Handle, Options, Server, clock};
use windlass_store::Store;
use windlass_wire::api::account::Role;

/// A running server with an admin's token.
pub(crate) struct House {
    pub(crate) handle: Option<Handle>,
    pub(crate) store: Store,
    pub(crate) folder: TempDir,
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) admin: String,
}

impl House {
    /// On a fresh database.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with other options.
    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().expect("tempdir");
        let store = store(folder.path()).await;
        let mut options = options(folder.path());
        change(&mut options);
        let handle = Server::start(store.clone(), options).await.expect("the server starts");
        let admin = handle.issue_token("test", Role::Admin).await.expect("token");
        Self {
            // Where it listens: its public address may be another.
            url: format!("http://{}", handle.address()),
            admin: admin.expose().to_owned(),
            handle: Some(handle),
            store,
            folder,
            http: client(),
        }
    }

    /// Stops the server and starts another on the same data.
    pub(crate) async fn restart(&mut self) {
        self.handle.take().expect("running").stop().await;
        let handle = start(&self.store, self.folder.path()).await;
        self.url = handle.url().to_owned();
        self.handle = Some(handle);
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.handle.as_ref().expect("running")
    }

    pub(crate) async fn token(&self, role: Role) -> String {
        let token = self.handle().issue_token("test", role).await.expect("token");
        token.expose().to_owned()
    }

    /// A request as the admin.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as(&self.admin, method, path)
    }

    pub(crate) fn request_as(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(token)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        expect(StatusCode::OK, self.request(Method::GET, path)).await
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        let response = self.request(Method::GET, path).send().await.expect("answered");
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response.text().await.expect("text")
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let response = self.request(Method::POST, path).json(&body).send().await.expect("answered");
        let status = response.status();
        let text = response.text().await.expect("text");
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Posts what must be refused: the code and the whole problem.
    pub(crate) async fn refused(&self, path: &str, body: Value) -> (String, Value) {
        let response = self.request(Method::POST, path).json(&body).send().await.expect("answered");
        problem(response).await
    }

    /// Adds a project from a fresh repository of a user: its path.
    pub(crate) async fn project(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        repository(&path);
        let source = json!({ "kind": "path", "path": path });
        self.post("/api/v1/projects", json!({ "source": source })).await;
        path.canonicalize().expect("path")
    }

    /// Starts a task on a project: the ids of its run and job.
    pub(crate) async fn task(&self, project: &str, task: &str) -> (String, String) {
        let run = self.post("/api/v1/runs", json!({ "project": project, "task": task })).await;
        let text = |value: &Value| value.as_str().expect("id").to_owned();
        (text(&run["run_id"]), text(&run["job_ids"][0]))
    }

    /// Waits until a job's journal has an event that fits.
    pub(crate) async fn wait_for(&self, job_id: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/api/v1/jobs/{job_id}/events");
        let mut events = Events::open(self.request(Method::GET, &path)).await;
        while let Some((_, event)) = events.next().await {
            if fits(&event["event"]) {
                return event;
            }
        }
        panic!("the stream of {job_id} ended without such an event");
    }
}

pub(crate) async fn store(folder: &Path) -> Store {
    let url = format!("sqlite:{}", folder.join("windlass.db").display());
    let now = clock::system()();
    let mut options = windlass_store::Options::new(folder.join("blobs"), now);
    options.lease_ttl = LEASE;
    options.durability = windlass_store::options::Durability::Process;
    Store::open(&url, options).await.expect("the store opens")
}

/// Long enough for the slowest machine: scripted runners send no heartbeats.
const LEASE: windlass_run::Duration = windlass_run::Duration::from_secs(3600);

pub(crate) fn options(folder: &Path) -> Options {
    let mut options = Options::new(([127, 0, 0, 1], 0).into(), folder.join("data"));
    options.lease_ttl = LEASE;
    options
}

pub(crate) async fn start(store: &Store, folder: &Path) -> Handle {
    Server::start(store.clone(), options(folder)).await.expect("the server starts")
}

pub(crate) fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .expect("client")
}

/// Sends it and checks the status: the JSON of the answer.
pub(crate) async fn expect(status: StatusCode, request: RequestBuilder) -> Value {
    let response = request.send().await.expect("answered");
    let found = response.status();
    let text = response.text().await.expect("text");
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// The code of a problem, and the whole of it. Checks that it is one, with its page.
pub(crate) async fn problem(response: reqwest::Response) -> (String, Value) {
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").expect("a content type").clone();
    let text = response.text().await.expect("text");
    assert_eq!(kind, "application/problem+json", "{status}: {text}");
    let problem: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(problem["status"], status, "{text}");
    let code = problem["code"].as_str().expect("a code").to_owned();
    assert_eq!(problem["type"], format!("/problems/{code}"));
    (code, problem)
}

/// A stream of server-sent events.
pub(crate) struct Events {
    response: reqwest::Response,
    buffer: String,
}

impl Events {
    pub(crate) async fn open(request: RequestBuilder) -> Self {
        let response =
            request.header("accept", "text/event-stream").send().await.expect("answered");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: String::new() }
    }

    /// The next event's id and data; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some(end) = self.buffer.find("\n\n") {
                let block: String = self.buffer.drain(..end + 2).collect();
                let field = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned))
                };
                if let Some(data) = field("data: ") {
                    let data = serde_json::from_str(&data).expect("JSON");
                    return Some((field("id: ").expect("an id"), data));
                }
            }
            let chunk = self.response.chunk().await.expect("the stream holds")?;
            self.buffer.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }
}

/// Makes a repository with a commit on `main`.
pub(crate) fn repository(path: &Path) {
    std::fs::create_dir_all(path).expect("folder");
    git(path, &["init", "--quiet", "--initial-branch=main", "."]);
    std::fs::write(path.join("greeting.txt"), "hello\nworld\n").expect("written");
    commit(path, "Begin");
}

/// Commits everything: the commit's id.
pub(crate) fn commit(path: &Path, message: &str) -> String {
    git(path, &["add", "--all"]);
    git(path, &["commit", "--quiet", "--message", message]);
    git(path, &["rev-parse", "HEAD"])
}

/// Runs git in a clean environment: what it printed.
pub(crate) fn git(path: &Path, arguments: &[&str]) -> String {
    let (succeeded, text) = try_git(path, arguments);
    assert!(succeeded, "git {arguments:?}: {text}");
    text
}

/// Runs git in a clean environment: whether it succeeded, and what it printed.
pub(crate) fn try_git(path: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(path)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", path)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_NAME", "Ann")
        .env("GIT_AUTHOR_EMAIL", "ann@example.org")
        .env("GIT_COMMITTER_NAME", "Ann")
        .env("GIT_COMMITTER_EMAIL", "ann@example.org")
        .output()
        .expect("git starts");
    let text = match output.status.success() {
        true => String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
        false => String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
    };
    (output.status.success(), text)
}
