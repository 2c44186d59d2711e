//! A project on GitHub, against the model of it: tasks become pull requests there, reviews go there,
//! and what people do there comes back.

use hmac::{Hmac, Mac as _};
use reqwest::Method;
use serde_json::{Value, json};
use windlass_testkit::github::{Access, GitHub};

use super::{
    house::{House, git, problem, repository},
    scripted_runner::{Runner, credential_url},
};

const TOKEN: &str = "github_pat_0123456789abcdef";
const SECRET: &str = "a webhook's secret";
const PULL: &str = "/api/v1/projects/api/pull-requests/1";

async fn host(house: &House) -> GitHub {
    let host = GitHub::start().await;
    let from = house.folder.path().join("upstream");
    repository(&from);
    host.add_token(TOKEN, "robot", Access::Write).await;
    host.add_repository("acme/api", &from, true).await;
    host
}

fn new_project(host: &GitHub, token: &str) -> Value {
    json!({
        "source": { "kind": "github", "repository": "acme/api", "api_url": host.api_root() },
        "token": token, "webhook_secret": SECRET,
    })
}

async fn with_pull_request(house: &House) -> (GitHub, String) {
    let host = host(house).await;
    house.post("/api/v1/projects", new_project(&host, TOKEN)).await;
    let runner = Runner::register(house).await;
    house.task("api", "Greet more warmly").await;
    let played = runner.play(&[("greeting.txt", "hello dear\nworld\n")]).await;
    (host, played.head)
}

async fn deliver(house: &House, id: &str, name: &str, payload: &Value, secret: &str) -> u16 {
    let body = payload.to_string();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(body.as_bytes());
    let digest: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = house
        .http
        .request(Method::POST, format!("{}/hooks/github/api", house.url))
        .header("x-github-event", name)
        .header("x-github-delivery", id)
        .header("x-hub-signature-256", format!("sha256={digest}"))
        .header("content-type", "application/json")
        .body(body);
    request.send().await.expect("answered").status().as_u16()
}

fn comment(id: u64, body: &str) -> Value {
    json!({
        "action": "created",
        "issue": { "number": 1, "pull_request": { "url": "x" } },
        "comment": { "id": id, "body": body, "user": { "login": "mallory", "id": 7 },
            "author_association": "NONE", "html_url": "https://example.org/1" },
        "repository": { "full_name": "acme/api", "private": true },
        "sender": { "login": "mallory", "id": 7, "type": "User" },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_to_the_default_branch_is_prepared_where_the_project_wants_that() {
    let house = House::new().await;
    let host = host(&house).await;
    house.post("/api/v1/projects", new_project(&host, TOKEN)).await;
    let push = |id: u8, branch: &str| {
        let commit = format!("{id:040x}");
        json!({
            "ref": format!("refs/heads/{branch}"), "before": "0".repeat(40), "after": commit,
            "created": false, "deleted": false, "forced": false, "commits": [],
            "repository": { "full_name": "acme/api", "private": true, "default_branch": "main" },
            "sender": { "login": "mallory", "id": 7, "type": "User" },
        })
    };
    let wants = json!({ "prebuild_on_push": true });
    let changed = house.request(Method::PATCH, "/api/v1/projects/api").json(&wants);
    assert!(changed.send().await.expect("answered").status().is_success());
    for (id, branch) in [(2, "other"), (3, "main"), (3, "main")] {
        let payload = push(id, branch);
        assert_eq!(
            deliver(&house, &format!("d{id}-{branch}"), "push", &payload, SECRET).await,
            202
        );
    }
    // A delivery is handled in its turn; the last of all tells that those before it were.
    assert_eq!(deliver(&house, "d4", "push", &push(4, "main"), SECRET).await, 202);
    let mut events =
        super::house::Events::open(house.request(Method::GET, "/api/v1/feed?after=0")).await;
    let prepared = async {
        loop {
            let jobs = house.get("/api/v1/jobs").await;
            let jobs = jobs["items"].as_array().expect("jobs").clone();
            if jobs.len() >= 2 {
                return jobs;
            }
            events.next().await.expect("the feed goes on");
        }
    };
    let wait = tokio::time::timeout(std::time::Duration::from_secs(120), prepared);
    let mut commits = Vec::new();
    for job in wait.await.expect("they come") {
        assert_eq!(job["title"], "Prebuild");
        let job = house.get(&format!("/api/v1/jobs/{}", job["id"].as_str().expect("an id"))).await;
        commits.push(job["base_commit"].as_str().expect("known").to_owned());
    }
    assert_eq!(commits, [format!("{:040x}", 4), format!("{:040x}", 3)]);
}

/// Waits until the feed has told of the pull request that often since `after`.
async fn conversation(house: &House, at_least: usize) -> Vec<Value> {
    let mut events =
        super::house::Events::open(house.request(Method::GET, "/api/v1/feed?after=0")).await;
    loop {
        let comments = house.get(PULL).await["comments"].as_array().expect("comments").clone();
        if comments.len() >= at_least {
            return comments;
        }
        events.next().await.expect("the feed goes on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_becomes_a_pull_request_on_github_that_is_reviewed_and_merged() {
    let house = House::new().await;
    let (host, head) = with_pull_request(&house).await;
    assert_eq!(host.n_pulls("acme/api").await, 1);
    let found = house.get(PULL).await;
    assert_eq!(found["host_url"], format!("{}/acme/api/pull/1", host.root()));
    assert_eq!((&found["state"], &found["head_commit"]), (&json!("open"), &json!(head)));
    let statuses = host.statuses("acme/api").await;
    assert_eq!(statuses.len(), 1);
    assert_eq!(
        (&statuses[0]["context"], &statuses[0]["state"]),
        (&json!("windlass"), &json!("success"))
    );
    let patch = house.text(&format!("{PULL}/diff.patch")).await;
    assert!(patch.contains("+hello dear"), "{patch}");

    let place = json!({ "path": "greeting.txt", "side": "new", "line": 1 });
    house.post(&format!("{PULL}/comments"), json!({ "body": "Too dear", "place": place })).await;
    house.post(&format!("{PULL}/comments"), json!({ "body": "Besides" })).await;
    house.post(&format!("{PULL}/approve"), json!({ "commit": head })).await;
    let said: String =
        host.exchanges().await.iter().map(|exchange| exchange.request.to_string()).collect();
    for part in ["Too dear", "Besides", "approves by Windlass"] {
        assert!(said.contains(part), "{part}");
    }

    let merged = house.post(&format!("{PULL}/merge"), json!({ "commit": head })).await;
    let found = house.get(PULL).await;
    assert_eq!((&found["state"], &found["merge_commit"]), (&json!("merged"), &merged["commit"]));
    let folder = tempfile::tempdir().expect("tempdir");
    let url = host.address("acme/api").replace("://", &format!("://x:{TOKEN}@"));
    let main = git(folder.path(), &["ls-remote", &url, "refs/heads/main"]);
    assert!(main.starts_with(merged["commit"].as_str().expect("a commit")), "{main}");
    let (code, _) = house.refused(&format!("{PULL}/publish"), json!({})).await;
    assert_eq!(code, "conflict");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follow_up_turn_pushes_to_the_same_pull_request() {
    let house = House::new().await;
    let (host, head) = with_pull_request(&house).await;
    house.post(&format!("{PULL}/comments"), json!({ "body": "Shorter" })).await;
    let sent = house.post(&format!("{PULL}/follow-up"), json!({})).await;
    let runner = Runner::register(&house).await;
    let second = runner.play(&[("greeting.txt", "hi\nworld\n")]).await;
    assert_eq!((&sent["job_id"], &second.base), (&json!(second.job_id), &head));
    assert_eq!(host.n_pulls("acme/api").await, 1);
    let found = house.get(PULL).await;
    assert_eq!(found["head_commit"], second.head);
    assert_eq!(found["rounds"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_say_on_github_joins_the_conversation_once() {
    let house = House::new().await;
    let (_host, _) = with_pull_request(&house).await;
    let payload = comment(42, "<b>please</b> rename it");
    assert_eq!(deliver(&house, "d1", "issue_comment", &payload, "wrong").await, 401);
    assert_eq!(deliver(&house, "d1", "issue_comment", &payload, SECRET).await, 202);
    assert_eq!(deliver(&house, "d1", "issue_comment", &payload, SECRET).await, 202);
    let ours = comment(43, "an echo\n\n<!-- windlass:c1 -->");
    assert_eq!(deliver(&house, "d2", "issue_comment", &ours, SECRET).await, 202);
    let last = comment(44, "and this");
    assert_eq!(deliver(&house, "d3", "issue_comment", &last, SECRET).await, 202);
    let said = conversation(&house, 2).await;
    let bodies: Vec<_> = said.iter().map(|comment| comment["body"].as_str()).collect();
    assert_eq!(bodies, [Some("<b>please</b> rename it"), Some("and this")]);
    assert_eq!(said[0]["by"]["name"], "github:mallory");
    let unknown = house.http.post(format!("{}/hooks/github/none", house.url)).body("{}");
    assert_eq!(problem(unknown.send().await.expect("answered")).await.0, "not-signed-in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_never_opens_a_second_pull_request() {
    let house = House::new().await;
    let host = host(&house).await;
    house.post("/api/v1/projects", new_project(&host, TOKEN)).await;
    let runner = Runner::register(&house).await;
    house.task("api", "Greet more warmly").await;
    // The next request looks for the pull request; the one after opens it, and its answer is lost.
    host.lose_answer_after(1).await;
    runner.play(&[("greeting.txt", "hello dear\nworld\n")]).await;
    assert_eq!(host.n_pulls("acme/api").await, 1);
    assert_eq!(house.get(PULL).await["state"], "open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_checked_sealed_and_given_to_nobody_but_the_runner() {
    let house = House::new().await;
    let host = host(&house).await;
    let (code, _) = house.refused("/api/v1/projects", new_project(&host, "wrong")).await;
    assert_eq!(code, "credential-refused");
    let added = house.post("/api/v1/projects", new_project(&host, TOKEN)).await;
    assert!(!added.to_string().contains(TOKEN));
    house.task("api", "Do it").await;
    let runner = Runner::register(&house).await;
    let held = runner.lease().await;
    assert!(credential_url(&held.lease).contains(TOKEN));
    assert_eq!(held.lease.repository.as_ref().expect("a repository").url, host.address("acme/api"));
    let mut files = vec![house.folder.path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files
                .extend(path.read_dir().expect("folder").map(|entry| entry.expect("entry").path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(TOKEN) && !text.contains(SECRET), "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_expired_and_a_wrong_secret_are_told_until_they_are_well() {
    let house = House::new().await;
    let (host, _) = with_pull_request(&house).await;
    let told = async || -> Vec<Value> {
        let mut hint = house.store.subscribe();
        while !house.store.unhandled_events(0, 1).await.expect("read").is_empty() {
            hint.changed().await.expect("the store is open");
        }
        let all = house.get("/api/v1/health/notices").await;
        let all = all.as_array().expect("a list").iter();
        all.map(|it| json!([it["kind"], it["subject"]])).collect()
    };
    host.remove_token(TOKEN).await;
    let payload = comment(42, "please rename it");
    assert_eq!(deliver(&house, "d1", "issue_comment", &payload, SECRET).await, 202);
    assert_eq!(told().await, [json!(["credential-refused", "api"])]);
    host.add_token(TOKEN, "robot", Access::Write).await;
    let payload = comment(43, "and this");
    assert_eq!(deliver(&house, "d2", "issue_comment", &payload, SECRET).await, 202);
    assert_eq!(told().await, Vec::<Value>::new());
    for n in 0..5 {
        let id = format!("w{n}");
        assert_eq!(deliver(&house, &id, "issue_comment", &payload, "wrong").await, 401);
    }
    assert_eq!(told().await, [json!(["hook-refused", "github/api"])]);
    assert_eq!(deliver(&house, "d3", "issue_comment", &payload, SECRET).await, 202);
    assert_eq!(told().await, Vec::<Value>::new());
}
