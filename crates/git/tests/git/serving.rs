//! Smart HTTP with the real git client on the other side.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use windlass_git::receive::{RefPattern, RefRules};
use windlass_git::smart_http::{Backend, Limits, Service, View, route};
use windlass_git::{Address, Credential, Error, Oid, RefName, Remote, Repository};

use crate::fixture::{World, commit_all, git, head, try_git, write};

const TOKEN: &str = "job-token-1";

/// The references of each push that ended, and whether it ended well.
type Pushes = Arc<Mutex<Vec<(Vec<String>, bool)>>>;

/// A server as Windlass mounts it: one repository, one token, one view.
struct Server {
    url: String,
    pushes: Pushes,
    seen: Arc<Mutex<Vec<String>>>,
    repository: Repository,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Mounted {
    backend: Backend,
    repository: Repository,
    view: View,
    pushes: Pushes,
    seen: Arc<Mutex<Vec<String>>>,
}

async fn handle(State(mounted): State<Mounted>, request: Request) -> Response {
    let reply = |status: u16, text: &'static str| {
        Response::builder()
            .status(status)
            .header("WWW-Authenticate", "Basic realm=\"git\"")
            .body(Body::from(text))
            .unwrap()
    };
    let headers = request.headers().clone();
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let line = format!(
        "{} {} {:?} {:?}",
        request.method(),
        request.uri(),
        header("git-protocol"),
        header("content-encoding")
    );
    mounted.seen.lock().unwrap().push(line);
    if header("authorization")
        != Some(Credential::basic("x-access-token", TOKEN).authorization().unwrap())
    {
        return reply(401, "who are you?");
    }
    let Some(("/acme/api.git", endpoint)) =
        route(request.method(), request.uri().path(), request.uri().query())
    else {
        return reply(404, "nothing here");
    };
    let (sender, ended) = tokio::sync::oneshot::channel::<windlass_git::smart_http::PushEnded>();
    let pushes = mounted.pushes.clone();
    tokio::spawn(async move {
        if let Ok(ended) = ended.await {
            let names =
                ended.head.commands.iter().map(|command| command.name.to_string()).collect();
            pushes.lock().unwrap().push((names, ended.succeeded));
        }
    });
    mounted
        .backend
        .serve(&mounted.repository, endpoint, &mounted.view, request, Some(sender))
        .await
        .map(Body::new)
}

impl Server {
    async fn start(world: &World, project: &Path, view: View, limits: Limits) -> Server {
        let repository = world.mirror(project).await.repository().clone();
        let (pushes, seen) = (Arc::default(), Arc::default());
        let mounted = Mounted {
            backend: Backend::new(limits),
            repository: repository.clone(),
            view,
            pushes: Arc::clone(&pushes),
            seen: Arc::clone(&seen),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/acme/api.git", listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(handle).with_state(mounted);
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Server { url, pushes, seen, repository, task }
    }

    fn remote(&self) -> Remote {
        Remote::with(Address::parse(&self.url).unwrap(), Credential::basic("x-access-token", TOKEN))
    }

    /// The address as a plain git client wants it.
    fn with_token(&self) -> String {
        self.url.replace("http://", &format!("http://x-access-token:{TOKEN}@"))
    }

    fn names(&self) -> Vec<String> {
        let text = git(self.repository.dir(), ["for-each-ref", "--format=%(refname)"]);
        text.lines().map(str::to_owned).collect()
    }
}

fn job_view() -> View {
    View {
        hidden: vec!["refs/windlass".into(), "!refs/windlass/job-1".into()],
        push: RefRules {
            allowed: vec![RefPattern::parse("refs/heads/windlass/job-1/*").unwrap()],
            deletes: false,
            rewrites: false,
        },
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn try_git_in(dir: &Path, args: &[&str]) -> (bool, String) {
    let (dir, args): (PathBuf, Vec<String>) =
        (dir.to_owned(), args.iter().map(ToString::to_string).collect());
    blocking(move || try_git(&dir, args)).await
}

async fn git_in(dir: &Path, args: &[&str]) -> String {
    let (ok, text) = try_git_in(dir, args).await;
    assert!(ok, "{args:?}: {text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_client_clones_fetches_and_pushes_by_every_protocol_version() {
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    let server = Server::start(&world, &project, job_view(), Limits::default()).await;
    for version in ["0", "1", "2"] {
        let clone = world.path(&format!("clone-{version}"));
        let config = format!("protocol.version={version}");
        git_in(
            world.dir.path(),
            &["-c", &config, "clone", "-q", &server.with_token(), &clone.display().to_string()],
        )
        .await;
        assert_eq!(head(&clone), head(&project));
        write(&clone, &[("b", version)]);
        let commit = commit_all(&clone, "work");
        let branch = format!("refs/heads/windlass/job-1/v{version}");
        git_in(&clone, &["-c", &config, "push", "-q", "origin", &format!("HEAD:{branch}")]).await;
        assert_eq!(
            server.repository.reference(&RefName::parse(&branch).unwrap()).await.unwrap(),
            Some(commit)
        );
        git_in(&clone, &["-c", &config, "fetch", "-q"]).await;
    }
    let shallow = world.path("shallow");
    git_in(
        world.dir.path(),
        &["clone", "-q", "--depth=1", &server.with_token(), &shallow.display().to_string()],
    )
    .await;
    write(&shallow, &[("c", "c")]);
    commit_all(&shallow, "work on a shallow clone");
    git_in(&shallow, &["push", "-q", "origin", "HEAD:refs/heads/windlass/job-1/shallow"]).await;
    let expected = ["v0", "v1", "v2", "shallow"]
        .map(|name| (vec![format!("refs/heads/windlass/job-1/{name}")], true));
    assert_eq!(*server.pushes.lock().unwrap(), expected);
    assert!(server.seen.lock().unwrap().iter().any(|line| line.contains("version=2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_anything_else_is_denied_with_the_reason_and_changes_nothing() {
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    let server = Server::start(&world, &project, job_view(), Limits::default()).await;
    let clone = world.path("clone");
    git_in(world.dir.path(), &["clone", "-q", &server.with_token(), &clone.display().to_string()])
        .await;
    write(&clone, &[("b", "b")]);
    commit_all(&clone, "work");
    git_in(&clone, &["push", "-q", "origin", "HEAD:refs/heads/windlass/job-1/mine"]).await;
    let before = git_in(server.repository.dir(), &["for-each-ref"]).await;
    let only = "only refs/heads/windlass/job-1/* may be pushed here";
    for (refspecs, reason) in [
        (&["HEAD:refs/heads/main"][..], only),
        (&["HEAD:refs/heads/windlass/job-2/x"], only),
        (&["HEAD:refs/heads/windlass/job-1"], only),
        (&["HEAD:refs/tags/v1"], only),
        (&["HEAD:refs/windlass/job-1/step"], only),
        (&["HEAD:refs/notes/x"], only),
        (&["HEAD:refs/heads/windlass/job-1/new", "HEAD:refs/heads/main"], only),
        (&[":refs/heads/windlass/job-1/mine"], "may not be deleted from here"),
        (&["+HEAD~1:refs/heads/windlass/job-1/mine"], "non-fast-forward"),
    ] {
        let mut args = vec!["push", "origin"];
        args.extend(refspecs);
        let (ok, text) = try_git_in(&clone, &args).await;
        assert!(!ok && text.contains(reason), "{refspecs:?}: {text}");
    }
    assert_eq!(git_in(server.repository.dir(), &["for-each-ref"]).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_allows_it_lets_branches_be_made_rewritten_and_deleted() {
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    let everything = View {
        hidden: vec!["refs/heads/windlass".into()],
        push: RefRules {
            allowed: vec![RefPattern::parse("refs/heads/*").unwrap()],
            deletes: true,
            rewrites: true,
        },
    };
    let server = Server::start(&world, &project, everything, Limits::default()).await;
    let clone = world.path("clone");
    git_in(world.dir.path(), &["clone", "-q", &server.with_token(), &clone.display().to_string()])
        .await;
    write(&clone, &[("b", "b")]);
    commit_all(&clone, "work");
    git_in(&clone, &["push", "-q", "origin", "HEAD:refs/heads/feature"]).await;
    git_in(&clone, &["push", "-q", "--force", "origin", "HEAD~1:refs/heads/feature"]).await;
    git_in(&clone, &["push", "-q", "origin", ":refs/heads/feature"]).await;
    assert_eq!(server.names(), ["refs/heads/main"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn references_of_other_jobs_cannot_be_seen_or_fetched() {
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    let commit = head(&project).to_string();
    let server = Server::start(&world, &project, job_view(), Limits::default()).await;
    for name in ["refs/windlass/job-1/s", "refs/windlass/job-2/s", "refs/windlass/job-10/s"] {
        git_in(server.repository.dir(), &["update-ref", name, &commit]).await;
    }
    for version in ["0", "2"] {
        let config = format!("protocol.version={version}");
        let listed = git_in(
            world.dir.path(),
            &["-c", &config, "ls-remote", "-q", &server.with_token(), "refs/windlass/*"],
        )
        .await;
        assert_eq!(listed, format!("{commit}\trefs/windlass/job-1/s"), "version {version}");
        let other = world.project(&format!("other-{version}"), &[("x", "x")]);
        let (ok, text) = try_git_in(
            &other,
            &["-c", &config, "fetch", &server.with_token(), "refs/windlass/job-2/s"],
        )
        .await;
        assert!(!ok && text.contains("couldn't find remote ref"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_there_is_nothing() {
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    let server = Server::start(&world, &project, job_view(), Limits::default()).await;
    let remote = |credential| Remote { address: Address::parse(&server.url).unwrap(), credential };
    for credential in [
        None,
        Some(Credential::basic("x-access-token", "wrong-token")),
        Some(Credential::bearer(TOKEN)),
    ] {
        let error = world.git.ls_remote(&remote(credential)).await.unwrap_err();
        assert!(
            matches!(&error, Error::AuthFailed { .. })
                && !error.to_string().contains("wrong-token"),
            "{error:?}"
        );
    }
    let advertised = world.git.ls_remote(&server.remote()).await.unwrap();
    assert_eq!(advertised.require_branch("main").unwrap(), &head(&project));
    let elsewhere = Remote {
        address: Address::parse(&server.url.replace("api.git", "none.git")).unwrap(),
        ..server.remote()
    };
    assert!(matches!(world.git.ls_remote(&elsewhere).await, Err(Error::RemoteMissing { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_push_works_over_http_and_is_stale_when_the_branch_moved() {
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    let mut view = job_view();
    view.push.rewrites = true;
    let server = Server::start(&world, &project, view, Limits::default()).await;
    let repository = world.git.init(&world.path("mine.git")).await.unwrap();
    repository.fetch(&server.remote(), &["+refs/heads/*:refs/heads/*"], true).await.unwrap();
    let base = repository.resolve("main").await.unwrap();
    let make = |seconds| {
        let commit = windlass_git::snapshot::NewCommit {
            tree: Oid::parse(&git(&project, ["rev-parse", "HEAD^{tree}"])).unwrap(),
            parents: vec![base.clone()],
            author: crate::fixture::who(seconds),
            committer: crate::fixture::who(seconds),
            message: "x".into(),
        };
        let repository = repository.clone();
        async move { repository.commit(&commit).await.unwrap() }
    };
    let (one, two) = (make(1).await, make(2).await);
    let branch = RefName::branch("windlass/job-1/x").unwrap();
    repository.push(&server.remote(), &branch, &one, None).await.unwrap();
    repository.push(&server.remote(), &branch, &two, Some(&one)).await.unwrap();
    let stale = repository.push(&server.remote(), &branch, &one, Some(&one)).await.unwrap_err();
    assert!(matches!(stale, Error::Stale { .. }), "{stale:?}");
    let denied = repository
        .push(&server.remote(), &RefName::branch("main").unwrap(), &one, Some(&base))
        .await
        .unwrap_err();
    assert!(
        matches!(&denied, Error::Rejected { reason, .. } if reason.contains("only refs/heads/windlass/job-1/*")),
        "{denied:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn large_transfers_stream_in_chunks_and_a_push_over_the_limit_is_refused() {
    let world = World::new();
    let noise: String =
        (0..400_000u32).map(|n| format!("{:x}\n", n.wrapping_mul(2_654_435_761))).collect();
    let project = world.project("project", &[("a", &noise)]);
    let server = Server::start(
        &world,
        &project,
        job_view(),
        Limits { push_bytes: 1 << 20, ..Limits::default() },
    )
    .await;
    let clone = world.path("clone");
    git_in(world.dir.path(), &["clone", "-q", &server.with_token(), &clone.display().to_string()])
        .await;
    assert_eq!(std::fs::read_to_string(clone.join("a")).unwrap(), noise);
    write(&clone, &[("b", &noise[..1 << 20].chars().rev().collect::<String>())]);
    commit_all(&clone, "fits");
    git_in(
        &clone,
        &[
            "-c",
            "http.postBuffer=65536",
            "push",
            "-q",
            "origin",
            "HEAD:refs/heads/windlass/job-1/fits",
        ],
    )
    .await;
    write(&clone, &[("b", &noise.chars().rev().collect::<String>())]);
    commit_all(&clone, "too large");
    let (ok, _) = try_git_in(
        &clone,
        &[
            "-c",
            "http.postBuffer=65536",
            "push",
            "-q",
            "origin",
            "HEAD:refs/heads/windlass/job-1/large",
        ],
    )
    .await;
    assert!(!ok);
    assert_eq!(server.names(), ["refs/heads/main", "refs/heads/windlass/job-1/fits"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_request_is_sent_compressed_and_understood() {
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    for index in 0..60 {
        git(&project, ["checkout", "-q", "-b", &format!("b{index}"), "main"]);
        write(&project, &[("a", &index.to_string())]);
        commit_all(&project, "one of many");
    }
    let server = Server::start(&world, &project, job_view(), Limits::default()).await;
    let clone = world.path("clone");
    git_in(world.dir.path(), &["clone", "-q", &server.with_token(), &clone.display().to_string()])
        .await;
    assert_eq!(git_in(&clone, &["rev-parse", "origin/b59"]).await, head(&project).as_str());
    let compressed = server.seen.lock().unwrap().iter().any(|line| line.contains("Some(\"gzip\")"));
    assert!(compressed, "the client compressed nothing, so nothing was shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_breaks_off_changes_nothing_and_the_next_one_works() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    let server = Server::start(&world, &project, job_view(), Limits::default()).await;
    let address = server.url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    let authorization = Credential::basic("x-access-token", TOKEN).authorization().unwrap();
    let command = format!(
        "{} {} refs/heads/windlass/job-1/cut\0 report-status",
        "0".repeat(40),
        head(&project)
    );
    let body = format!("{:04x}{command}0000PACK\0\0\0\u{2}", command.len() + 4);
    let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
    let request = format!(
        "POST /acme/api.git/git-receive-pack HTTP/1.1\r\nHost: {address}\r\nAuthorization: {authorization}\r\nContent-Type: application/x-git-receive-pack-request\r\nContent-Length: 100000\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    drop(socket);
    while server.pushes.lock().unwrap().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(server.names(), ["refs/heads/main"]);
    let clone = world.path("clone");
    git_in(world.dir.path(), &["clone", "-q", &server.with_token(), &clone.display().to_string()])
        .await;
    write(&clone, &[("b", "b")]);
    commit_all(&clone, "work");
    git_in(&clone, &["push", "-q", "origin", "HEAD:refs/heads/windlass/job-1/cut"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_not_gits_are_refused() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    let server = Server::start(&world, &project, job_view(), Limits::default()).await;
    let address = server.url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    let authorization = Credential::basic("x-access-token", TOKEN).authorization().unwrap();
    let ask = |request: &str, headers: &str, body: &str| {
        let text = format!(
            "{request} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        let address = address.clone();
        async move {
            let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
            socket.write_all(text.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer)[9..12].to_owned()
        }
    };
    let receive = "Content-Type: application/x-git-receive-pack-request\r\n";
    for (request, headers, body, status) in [
        ("GET /acme/api.git/info/refs", "", "", "404"),
        ("GET /acme/api.git/HEAD", "", "", "404"),
        ("GET /acme/api.git/objects/info/packs", "", "", "404"),
        ("GET /acme/api.git/info/refs?service=git-upload-archive", "", "", "404"),
        (
            "GET /acme/api.git/info/refs?service=git-upload-pack&service=git-receive-pack",
            "",
            "",
            "404",
        ),
        ("GET /acme/api.git/git-upload-pack", "", "", "404"),
        ("POST /acme/api.git/git-upload-pack", "Content-Type: text/plain\r\n", "0000", "415"),
        ("POST /acme/api.git/git-receive-pack", receive, "rubbish!", "400"),
        ("POST /acme/api.git/git-receive-pack", receive, "0010", "400"),
        (
            "POST /acme/api.git/git-receive-pack",
            &format!("{receive}Content-Encoding: br\r\n"),
            "0000",
            "415",
        ),
        (
            "POST /acme/api.git/git-receive-pack",
            &format!("{receive}Content-Encoding: gzip\r\n"),
            "0000",
            "400",
        ),
        ("POST /acme/api.git/git-receive-pack", receive, "0000", "200"),
        (
            "GET /acme/api.git/info/refs?service=git-upload-pack",
            "Git-Protocol: version=2:$(id)\r\n",
            "",
            "200",
        ),
    ] {
        assert_eq!(ask(request, headers, body).await, status, "{request} {headers} {body}");
    }
    assert_eq!(
        route(&http::Method::POST, "/a/git-upload-pack", None),
        Some(("/a", windlass_git::smart_http::Endpoint::Call(Service::UploadPack)))
    );
}
