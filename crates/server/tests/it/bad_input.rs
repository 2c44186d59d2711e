//! Bad input: each refusal says what, where, and what to do.

use serde_json::json;
use windlass_server::{Server, Tls};

use super::house::{House, client, commit, git, options, problem, repository, store};

async fn why_not(options: windlass_server::Options, store: &windlass_store::Store) -> String {
    match Server::start(store.clone(), options).await {
        Ok(_) => panic!("the server started"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named_with_the_way_out() {
    let house = House::new().await;
    let folder = tempfile::tempdir().expect("tempdir");
    let mut second = options(folder.path());
    second.listen = house.handle().address();
    let why = why_not(second, &house.store).await;
    assert_eq!(
        why,
        format!(
            "{} is taken by another process: stop that one, or choose another port with --listen",
            house.handle().address()
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_others_reach_needs_tls() {
    let folder = tempfile::tempdir().expect("tempdir");
    let store = store(folder.path()).await;
    let mut open = options(folder.path());
    open.listen = ([0, 0, 0, 0], 0).into();
    let why = why_not(open, &store).await;
    assert!(why.contains("needs TLS") && why.contains("127.0.0.1"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_made_once_and_its_fingerprint_is_told() {
    let folder = tempfile::tempdir().expect("tempdir");
    let store = store(folder.path()).await;
    let secure = || {
        let mut secure = options(folder.path());
        secure.tls = Tls::SelfMade { names: vec![] };
        secure
    };
    let handle = Server::start(store.clone(), secure()).await.expect("started");
    let first = handle.fingerprint().expect("a fingerprint").to_owned();
    assert_eq!(first.len(), 64);
    let certificate = std::fs::read(folder.path().join("data/tls.crt")).expect("a certificate");
    client();
    let https = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&certificate).expect("PEM")])
        .no_proxy()
        .build()
        .expect("client");
    let answer = https.get(format!("{}/api/v1/version", handle.url())).send().await;
    assert_eq!(answer.expect("answered over TLS").status(), 200);
    let plain = handle.url().replace("https", "http");
    assert!(client().get(plain).send().await.is_err());
    handle.stop().await;
    let again = Server::start(store, secure()).await.expect("started");
    assert_eq!(again.fingerprint(), Some(first.as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_others_can_read_stops_the_start() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("tempdir");
    let store = store(folder.path()).await;
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data).expect("folder");
    std::fs::write(data.join("secrets.key"), [0; 32]).expect("written");
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(data.join("secrets.key"), mode).expect("chmod");
    let why = why_not(options(folder.path()), &store).await;
    assert!(why.ends_with("chmod 600 it"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_database_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().expect("tempdir");
    let first = store(folder.path()).await;
    let url = format!("sqlite:{}", folder.path().join("windlass.db").display());
    let open = || {
        let options = windlass_store::Options::new(
            folder.path().join("blobs"),
            windlass_server::clock::system()(),
        );
        windlass_store::Store::open(&url, options)
    };
    let why = open().await.err().expect("locked").to_string();
    assert!(why.contains("locked") && why.contains("stop that process first"), "{why}");
    first.close().await;
    open().await.expect("free again").close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_repository_is_refused_before_anything_is_made() {
    let house = House::new().await;
    let plain = house.folder.path().join("plain");
    std::fs::create_dir_all(&plain).expect("folder");
    let add = |path: std::path::PathBuf| json!({ "source": { "kind": "path", "path": path } });
    let (code, problem) = house.refused("/api/v1/projects", add(plain)).await;
    assert_eq!((code.as_str(), &problem["place"]), ("not-a-repository", &json!("source")));
    let missing = house.folder.path().join("missing");
    let (code, problem) = house.refused("/api/v1/projects", add(missing)).await;
    assert_eq!((code.as_str(), &problem["place"]), ("not-a-repository", &json!("source.path")));
    let (code, _) = house.refused("/api/v1/projects", add("relative".into())).await;
    assert_eq!(code, "bad-request");
    let token = json!({ "source": { "kind": "url", "url": "https://ann:hunter2@host/x" } });
    let (code, problem) = house.refused("/api/v1/projects", token).await;
    assert_eq!(code, "bad-request");
    assert!(!problem.to_string().contains("hunter2"), "{problem}");
    assert_eq!(house.get("/api/v1/projects").await, json!({ "items": [] }));
    let copies = house.folder.path().join("data/repositories");
    let left = copies.read_dir().map_or(0, Iterator::count);
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_repository_says_that_a_commit_is_missing() {
    let house = House::new().await;
    let path = house.folder.path().join("empty");
    std::fs::create_dir_all(&path).expect("folder");
    git(&path, &["init", "--quiet", "--initial-branch=main", "."]);
    let body = json!({ "source": { "kind": "path", "path": path } });
    let (code, problem) = house.refused("/api/v1/projects", body.clone()).await;
    assert_eq!(code, "empty-repository");
    assert!(problem["detail"].as_str().expect("detail").contains("first commit"), "{problem}");
    std::fs::write(path.join("a"), "a").expect("written");
    commit(&path, "Begin");
    assert_eq!(house.post("/api/v1/projects", body).await["default_branch"], "main");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detached_head_is_said_and_tasks_must_name_a_branch() {
    let house = House::new().await;
    let path = house.folder.path().join("detached");
    repository(&path);
    git(&path, &["checkout", "--quiet", "--detach"]);
    let body = json!({ "source": { "kind": "path", "path": path } });
    let project = house.post("/api/v1/projects", body).await;
    assert_eq!(project.get("default_branch"), None);
    assert!(project["notes"].to_string().contains("HEAD is detached"), "{project}");
    let task = json!({ "project": "detached", "task": "Do it" });
    let (code, problem) = house.refused("/api/v1/runs", task).await;
    assert_eq!((code.as_str(), &problem["place"]), ("missing-branch", &json!("base")));
    let task = json!({ "project": "detached", "task": "Do it", "base": "main" });
    house.post("/api/v1/runs", task).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_branch_and_a_bad_task_are_refused_with_their_place() {
    let house = House::new().await;
    house.project("shop").await;
    let refused = async |body| {
        let (code, problem) = house.refused("/api/v1/runs", body).await;
        (code, problem["place"].as_str().unwrap_or_default().to_owned())
    };
    let at = |code: &str, place: &str| (code.to_owned(), place.to_owned());
    let task = |more: serde_json::Value| {
        let mut body = json!({ "project": "shop", "task": "Do it" });
        body.as_object_mut().expect("map").extend(more.as_object().expect("map").clone());
        body
    };
    assert_eq!(refused(task(json!({ "base": "nope" }))).await, at("missing-branch", "base"));
    assert_eq!(refused(json!({ "project": "shop" })).await, at("invalid-spec", "task"));
    assert_eq!(
        refused(json!({ "project": "shop", "task": " \n" })).await,
        at("invalid-spec", "task")
    );
    assert_eq!(
        refused(task(json!({ "limits": { "duration": 0 } }))).await,
        at("invalid-spec", "limits.duration")
    );
    assert_eq!(
        refused(task(json!({ "agent": { "attempts": 0 } }))).await.0,
        "invalid-spec".to_owned()
    );
    assert_eq!(refused(task(json!({ "tusk": 1 }))).await.0, "bad-request");
    assert_eq!(refused(json!({ "project": "none", "task": "x" })).await.0, "not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uncommitted_work_is_not_used_and_that_is_said() {
    let house = House::new().await;
    let source = house.project("shop").await;
    std::fs::write(source.join("greeting.txt"), "not committed\n").expect("written");
    std::fs::write(source.join("stray.txt"), "stray\n").expect("written");
    let run = house.post("/api/v1/runs", json!({ "project": "shop", "task": "Do it" })).await;
    assert!(run["notes"].to_string().contains("uncommitted work"), "{run}");
    let runner = super::scripted_runner::Runner::register(&house).await;
    let held = runner.lease().await;
    let folder = tempfile::tempdir().expect("tempdir");
    let (tree, _) = runner.clone(&held, folder.path());
    let text = std::fs::read_to_string(tree.join("greeting.txt")).expect("read");
    assert_eq!((text.as_str(), tree.join("stray.txt").exists()), ("hello\nworld\n", false));
    assert_eq!(
        std::fs::read_to_string(source.join("greeting.txt")).expect("read"),
        "not committed\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_and_what_is_not_allowed_are_problems_too() {
    let house = House::new().await;
    let get = |path: &str| house.request(reqwest::Method::GET, path).send();
    let code = async |path: &str| problem(get(path).await.expect("answered")).await.0;
    assert_eq!(code("/api/v1/nothing").await, "not-found");
    assert_eq!(code("/api/v1/runs/run_x").await, "not-found");
    assert_eq!(code(&format!("/api/v1/jobs/job_{}", "0".repeat(26))).await, "not-found");
    assert_eq!(code("/api/v1/runs?limit=0").await, "bad-request");
    assert_eq!(code("/api/v1/runs?cursor=x").await, "bad-request");
    assert_eq!(code("/api/v1/runs?state=x").await, "bad-request");
    assert_eq!(code("/api/v1/runs?x=y").await, "bad-request");
    assert_eq!(code("/api/v1/pull-requests?cursor=1.2.3").await, "bad-request");
    let put = house.request(reqwest::Method::PUT, "/api/v1/runs").send().await.expect("answered");
    assert_eq!(problem(put).await.0, "method-not-allowed");
    let page = house.text("/api/v1/problems/not-found").await;
    assert!(page.starts_with("# There is no such thing here"), "{page}");
}
