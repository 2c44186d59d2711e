//! The git door between the real `git` client and a real `git http-backend`, over loopback sockets.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests fail loudly; git is found by the PATH of the test"
)]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Response, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command, sync::mpsc};
use windlass_gateway::{
    Door, Limits, Secret,
    git::{self, Options, PushCommand, Record},
    upstream,
};
use windlass_git::receive::{RefPattern, RefRules};

const TOKEN: &str = "ghp_realtoken0123456789";

/// A forge with one repository behind `git http-backend`, which wants the token.
struct Forge {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    requests: Mutex<Vec<String>>,
}

impl Forge {
    async fn start(root: &Path) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared { root: root.to_owned(), requests: Mutex::default() });
        let router = Router::new().fallback(backend).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }
}

async fn backend(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let header =
        |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let line = format!("{} {} {:?}", parts.method, parts.uri, parts.headers);
    shared.requests.lock().unwrap().push(line);
    let expected = format!("Basic {}", STANDARD.encode(format!("x-access-token:{TOKEN}")));
    let answer = |status, text: String| {
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response
    };
    if header("authorization") != Some(expected) {
        return answer(StatusCode::UNAUTHORIZED, "who are you".to_owned());
    }
    if parts.uri.path().starts_with("/acme/broken.git") {
        return answer(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot use token {TOKEN} now"));
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_PROJECT_ROOT", &shared.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "job")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or(""))
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git http-backend");
    let mut stdin = child.stdin.take().expect("a pipe");
    tokio::spawn(async move {
        // A backend that refuses early reads no further.
        let _ = stdin.write_all(&body).await;
    });
    let output = child.wait_with_output().await.expect("an answer").stdout;
    let split = output.windows(4).position(|window| window == b"\r\n\r\n").expect("a CGI head");
    let mut response = Response::new(Body::from(Bytes::copy_from_slice(&output[split + 4..])));
    for line in String::from_utf8_lossy(&output[..split]).lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        if name == "Status" {
            *response.status_mut() = value[..3].parse().expect("a status");
        } else {
            let name: header::HeaderName = name.parse().expect("a name");
            response.headers_mut().insert(name, value.parse().expect("a value"));
        }
    }
    response
}

struct World {
    directory: TempDir,
    forge: Forge,
    door: Door,
    records: mpsc::UnboundedReceiver<Record>,
}

async fn world() -> World {
    world_of("acme/api.git", TOKEN).await
}

async fn world_of(repository: &str, token: &str) -> World {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("forge");
    let bare = root.join("acme/api.git");
    std::fs::create_dir_all(&bare).expect("made");
    git(&root, &["init", "-q", "--bare", "-b", "main", bare.to_str().expect("a path")]).await;
    git(&bare, &["config", "http.receivepack", "true"]).await;
    let seed = directory.path().join("seed");
    git(directory.path(), &["init", "-q", "-b", "main", "seed"]).await;
    commit(&seed, "README", "hello").await;
    git(&seed, &["push", "-q", bare.to_str().expect("a path"), "main", "main:refs/heads/other"])
        .await;

    let forge = Forge::start(&root).await;
    let (sender, records) = mpsc::unbounded_channel();
    let options = Options {
        client: upstream::client(&upstream::Options::default()).expect("a client"),
        repository: format!("http://ignored:user@{}/{repository}", forge.address)
            .parse()
            .expect("a URL"),
        credential: Some(("x-access-token".to_owned(), Secret::new(token))),
        push: RefRules {
            allowed: vec![RefPattern::parse("refs/heads/windlass/job-1/*").expect("a pattern")],
            deletes: false,
            rewrites: true,
        },
        records: Arc::new(move |record| sender.send(record).unwrap()),
        limits: Limits::default(),
        idle: Duration::from_secs(60),
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let door = git::serve(listener, options).expect("a door");
    World { directory, forge, door, records }
}

impl World {
    fn url(&self) -> String {
        format!("http://{}/git/whatever.git", self.door.address())
    }

    async fn clone(&self) -> PathBuf {
        git(self.directory.path(), &["clone", "-q", &self.url(), "work"]).await;
        self.directory.path().join("work")
    }

    async fn refs(&self) -> Vec<String> {
        let bare = self.directory.path().join("forge/acme/api.git");
        let all = git(&bare, &["for-each-ref", "--format=%(refname)"]).await;
        all.lines().map(ToOwned::to_owned).collect()
    }

    /// The pushes that were recorded so far.
    fn pushes(&mut self) -> Vec<Record> {
        let mut pushes = Vec::new();
        while let Ok(record) = self.records.try_recv() {
            if record.service == "git-receive-pack" {
                pushes.push(record);
            }
        }
        pushes
    }
}

/// Runs git as an agent would, and returns what it printed on either output, and whether it went well.
async fn try_git(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.version=2"])
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .await
        .expect("git");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

async fn git(directory: &Path, arguments: &[&str]) -> String {
    let (well, text) = try_git(directory, arguments).await;
    assert!(well, "git {arguments:?}: {text}");
    text
}

async fn commit(directory: &Path, name: &str, text: &str) {
    std::fs::write(directory.join(name), text).expect("written");
    git(directory, &["add", "."]).await;
    git(directory, &["commit", "-q", "-m", name]).await;
}

const BASE: [&str; 2] = ["refs/heads/main", "refs/heads/other"];

#[tokio::test]
async fn the_jobs_own_branch_is_pushed_and_the_token_stays_outside() {
    let mut world = world().await;
    let work = world.clone().await;
    commit(&work, "change", "one").await;
    git(&work, &["push", "-q", "origin", "HEAD:refs/heads/windlass/job-1/fix"]).await;
    assert_eq!(world.refs().await, [BASE[0], BASE[1], "refs/heads/windlass/job-1/fix"]);
    // The job's own branch may also be rewritten.
    git(&work, &["commit", "-q", "--amend", "-m", "again"]).await;
    git(&work, &["push", "-q", "--force", "origin", "HEAD:refs/heads/windlass/job-1/fix"]).await;

    let pushes = world.pushes();
    assert_eq!(pushes.len(), 2);
    assert_eq!((pushes[0].status, &pushes[0].refused), (200, &None));
    let PushCommand { name, old, new } = &pushes[0].commands[0];
    assert_eq!((name.as_str(), old), ("refs/heads/windlass/job-1/fix", &None));
    assert_eq!(pushes[1].commands[0].old, *new);

    let config = std::fs::read_to_string(work.join(".git/config")).expect("read");
    assert!(!config.contains(TOKEN));
    let requests = world.forge.requests();
    assert!(requests.iter().all(|line| line.contains("/acme/api.git/")), "{requests:?}");
    assert!(
        requests.iter().any(|line| line.contains("\"git-protocol\": \"version=2\"")),
        "{requests:?}"
    );
}

#[tokio::test]
async fn every_other_push_is_rejected_with_the_reason_and_never_reaches_the_forge() {
    let mut world = world().await;
    let work = world.clone().await;
    commit(&work, "change", "one").await;
    let before = world.forge.requests().len();
    let attempts: [&[&str]; 9] = [
        &["push", "origin", "HEAD:refs/heads/main"],
        &["push", "origin", "+HEAD:refs/heads/other"],
        &["push", "origin", ":refs/heads/other"],
        &["push", "origin", "HEAD:refs/tags/v1"],
        &["push", "origin", "HEAD:refs/heads/windlass/job-12/x"],
        &["push", "origin", "HEAD:refs/heads/windlass/job-1"],
        &["push", "origin", "HEAD:refs/windlass/job-1/x"],
        &["push", "origin", "HEAD:refs/heads/windlass/job-1/good", "HEAD:refs/heads/main"],
        &["push", "--atomic", "origin", "HEAD:refs/heads/windlass/job-1/good", "HEAD:refs/tags/v2"],
    ];
    for attempt in attempts {
        let (well, text) = try_git(&work, attempt).await;
        assert!(!well, "{attempt:?} passed: {text}");
        assert!(
            text.contains("only refs/heads/windlass/job-1/* may be pushed here"),
            "{attempt:?}: {text}"
        );
    }
    assert_eq!(world.refs().await, BASE);
    let asked = world.forge.requests().split_off(before);
    assert!(asked.iter().all(|line| line.starts_with("GET ")), "{asked:?}");
    let pushes = world.pushes();
    assert_eq!(pushes.len(), attempts.len());
    assert!(pushes.iter().all(|push| push.refused.is_some()));
    let main = pushes[0].refused.as_deref();
    assert_eq!(main, Some("refs/heads/main: only refs/heads/windlass/job-1/* may be pushed here"));
}

#[tokio::test]
async fn the_jobs_own_branch_is_not_deleted_where_the_rules_say_so() {
    let world = world().await;
    let work = world.clone().await;
    git(&work, &["push", "-q", "origin", "HEAD:refs/heads/windlass/job-1/fix"]).await;
    let (well, text) = try_git(&work, &["push", "origin", ":refs/heads/windlass/job-1/fix"]).await;
    assert!(!well && text.contains("may not be deleted from here"), "{text}");
    assert_eq!(world.refs().await.len(), 3);
}

#[tokio::test]
async fn large_packs_pass_in_both_directions() {
    let mut world = world().await;
    let work = world.clone().await;
    // Far more than any buffer, and not to be compressed; git sends it in chunks after a probe.
    let mut state = 1u64;
    let noise: Vec<u8> = (0..6_000_000)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    std::fs::write(work.join("noise"), &noise).expect("written");
    git(&work, &["add", "."]).await;
    git(&work, &["commit", "-q", "-m", "noise"]).await;
    git(&work, &["push", "-q", "origin", "HEAD:refs/heads/windlass/job-1/big"]).await;
    assert_eq!(world.pushes().len(), 1);
    let (well, text) = try_git(&work, &["push", "origin", "HEAD:refs/heads/main"]).await;
    assert!(!well && text.contains("may be pushed here"), "{text}");
    let url = world.url();
    git(world.directory.path(), &["clone", "-q", "-b", "windlass/job-1/big", &url, "again"]).await;
    let again = std::fs::read(world.directory.path().join("again/noise")).expect("read");
    assert!(again == noise);
}

#[tokio::test]
async fn a_large_negotiation_is_sent_compressed_and_understood() {
    let world = world().await;
    let bare = world.directory.path().join("forge/acme/api.git");
    // Many references make the client's list of wants long enough to be gzipped.
    let oid = git(&bare, &["rev-parse", "main"]).await;
    let tree = git(&bare, &["rev-parse", "main^{tree}"]).await;
    for index in 0..60 {
        let message = format!("commit {index}");
        let new = git(&bare, &["commit-tree", tree.trim(), "-p", oid.trim(), "-m", &message]).await;
        git(&bare, &["update-ref", &format!("refs/heads/many/{index}"), new.trim()]).await;
    }
    let trace = world.directory.path().join("trace");
    let traced = Command::new("git")
        .args(["clone", "-q", &world.url(), "work"])
        .current_dir(world.directory.path())
        .env("GIT_TRACE_CURL", &trace)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", world.directory.path())
        .status();
    assert!(traced.await.expect("git").success());
    let trace = String::from_utf8_lossy(&std::fs::read(trace).expect("read")).to_lowercase();
    assert!(
        trace.contains("content-encoding: gzip"),
        "git did not compress, so this test shows nothing"
    );
    let refs = git(&world.directory.path().join("work"), &["branch", "-r"]).await;
    assert_eq!(refs.lines().filter(|line| line.contains("many/")).count(), 60);
}

#[tokio::test]
async fn a_push_that_was_compressed_is_read_before_it_is_passed() {
    use async_compression::tokio::write::GzipEncoder;
    let mut world = world().await;
    let null = "0".repeat(40);
    let one = "1".repeat(40);
    let line = format!("{null} {one} refs/heads/main\0report-status");
    let plain = format!("{:04x}{line}0000PACK", line.len() + 4);
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(plain.as_bytes()).await.expect("written");
    encoder.shutdown().await.expect("ended");
    let client = reqwest::Client::new();
    let post = |body: Vec<u8>, encoding: &'static str| {
        let request = client.post(format!("{}/git-receive-pack", world.url())).body(body);
        request
            .header("content-type", "application/x-git-receive-pack-request")
            .header("content-encoding", encoding)
    };
    let answer = post(encoder.into_inner(), "gzip")
        .send()
        .await
        .expect("an answer")
        .text()
        .await
        .expect("text");
    assert!(
        answer.contains("ng refs/heads/main only refs/heads/windlass/job-1/* may be pushed here"),
        "{answer}"
    );
    let answer = post(plain.clone().into_bytes(), "br").send().await.expect("an answer");
    assert_eq!(answer.status(), 415);
    let answer = post(b"zzzz".to_vec(), "identity").send().await.expect("an answer");
    assert_eq!(answer.status(), 400);
    // A client that understands no report is answered by status.
    let line = line.trim_end_matches("\0report-status");
    let silent = format!("{:04x}{line}0000PACK", line.len() + 4);
    let answer = post(silent.into_bytes(), "identity").send().await.expect("an answer");
    assert_eq!(answer.status(), 403);
    assert_eq!(world.pushes().len(), 3);
    assert!(world.forge.requests().is_empty());
}

#[tokio::test]
async fn a_few_compressed_bytes_do_not_become_gigabytes_on_their_way_out() {
    use async_compression::tokio::write::GzipEncoder;
    let mut world = world().await;
    let piece = vec![b'0'; 1 << 20];
    let mut encoder = GzipEncoder::new(Vec::new());
    for _ in 0..100 {
        encoder.write_all(&piece).await.expect("compressed");
    }
    encoder.shutdown().await.expect("compressed");
    let bomb = encoder.into_inner();
    assert!(bomb.len() < 1 << 20);
    let answer = reqwest::Client::new()
        .post(format!("{}/git-upload-pack", world.url()))
        .header("content-type", "application/x-git-upload-pack-request")
        .header("content-encoding", "gzip")
        .body(bomb)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 502);
    let record = world.records.recv().await.expect("a record");
    assert_eq!((record.service.as_str(), record.status), ("git-upload-pack", 502));
}

#[tokio::test]
async fn only_gits_own_endpoints_are_served() {
    let world = world().await;
    let client = reqwest::Client::new();
    for path in [
        "/",
        "/git/x.git/HEAD",
        "/git/x.git/info/refs",
        "/git/x.git/info/lfs/objects/batch",
        "/git/x.git/objects/info/packs",
    ] {
        let url = format!("http://{}{path}", world.door.address());
        assert_eq!(client.get(url).send().await.expect("an answer").status(), 404, "{path}");
    }
    assert!(world.forge.requests().is_empty());
}

#[tokio::test]
async fn a_forge_that_refuses_or_breaks_is_reported_without_the_token() {
    let wrong = world_of("acme/api.git", "ghp_wrongtoken").await;
    let (well, text) =
        try_git(wrong.directory.path(), &["clone", "-q", &wrong.url(), "work"]).await;
    assert!(!well && text.contains("403"), "{text}");
    let refs = format!("{}/info/refs?service=git-upload-pack", wrong.url());
    let answer = reqwest::get(refs).await.expect("an answer");
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.expect("text").contains("refused the token of this project"));

    let broken = world_of("acme/broken.git", TOKEN).await;
    let refs = format!("{}/info/refs?service=git-upload-pack", broken.url());
    let answer = reqwest::get(refs).await.expect("an answer");
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.text().await.expect("text"), "cannot use token [redacted:credential] now");
}
