//! Reviewing: what merges, what does not, and what a person sees of it.

use reqwest::Method;
use serde_json::json;

use super::{
    house::{House, commit, git, problem},
    scripted_runner::Runner,
};

const PULL: &str = "/api/v1/projects/shop/pull-requests/1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_is_reported_and_nothing_is_merged() {
    let house = House::new().await;
    let source = house.project("shop").await;
    let runner = Runner::register(&house).await;
    house.task("shop", "Change the greeting").await;
    runner.play(&[("greeting.txt", "hey\nworld\n")]).await;
    std::fs::write(source.join("greeting.txt"), "howdy\nworld\n").expect("written");
    let theirs = commit(&source, "Howdy");

    let (code, problem) = house.refused(&format!("{PULL}/merge"), json!({})).await;
    assert_eq!(code, "merge-conflict");
    assert!(problem["detail"].as_str().expect("detail").contains("greeting.txt"), "{problem}");
    let found = house.get(PULL).await;
    assert_eq!(found["state"], "open");
    assert_eq!(found["mergeable"]["conflicts"], json!(["greeting.txt"]));
    assert_eq!(git(&source, &["rev-parse", "main"]), theirs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_squash_is_one_commit_and_a_rebase_has_no_merge_commit() {
    for (method, parents) in [("squash", 1), ("rebase", 1), ("merge", 2)] {
        let house = House::new().await;
        let source = house.project("shop").await;
        let runner = Runner::register(&house).await;
        house.task("shop", "Add a file").await;
        runner.play(&[("new.txt", "new\n")]).await;
        std::fs::write(source.join("theirs.txt"), "theirs\n").expect("written");
        let theirs = commit(&source, "Meanwhile");

        let merged = house.post(&format!("{PULL}/merge"), json!({ "method": method })).await;
        let branch = house.get(PULL).await["head"].as_str().expect("head").to_owned();
        assert_eq!(git(&source, &["rev-parse", &branch]), merged["commit"]);
        let lines = git(&source, &["rev-list", "--parents", "--max-count=1", &branch]);
        assert_eq!(lines.split_whitespace().count() - 1, parents, "{method}");
        assert_eq!(git(&source, &["rev-parse", &format!("{branch}^")]), theirs, "{method}");
        assert_eq!(git(&source, &["show", &format!("{branch}:new.txt")]), "new");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_base_at_the_source_moves_only_when_asked_and_never_while_it_is_checked_out() {
    let house = House::new().await;
    let source = house.project("shop").await;
    let runner = Runner::register(&house).await;
    house.task("shop", "Add a file").await;
    runner.play(&[("new.txt", "new\n")]).await;
    let before = git(&source, &["rev-parse", "main"]);
    let merged = house.post(&format!("{PULL}/merge"), json!({ "update_source": true })).await;
    let notes = merged["notes"].to_string();
    assert!(notes.contains("main") && notes.contains("checked out"), "{notes}");
    assert_eq!(git(&source, &["rev-parse", "main"]), before);

    git(&source, &["checkout", "--quiet", "-b", "elsewhere"]);
    house.task("shop", "Add another file").await;
    runner.play(&[("newer.txt", "newer\n")]).await;
    let second = "/api/v1/projects/shop/pull-requests/2";
    let merged = house.post(&format!("{second}/merge"), json!({ "update_source": true })).await;
    assert_eq!(git(&source, &["rev-parse", "main"]), merged["commit"]);
    assert!(!source.join("newer.txt").exists(), "the work tree is never touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_pull_request_can_be_reopened_and_a_merged_one_cannot() {
    let house = House::new().await;
    house.project("shop").await;
    let runner = Runner::register(&house).await;
    house.task("shop", "Add a file").await;
    runner.play(&[("new.txt", "new\n")]).await;
    let closed = house.post(&format!("{PULL}/close"), json!({})).await;
    assert_eq!(closed["state"], "closed");
    let (code, _) = house.refused(&format!("{PULL}/merge"), json!({})).await;
    assert_eq!(code, "pull-request-state");
    let (code, _) = house.refused(&format!("{PULL}/follow-up"), json!({ "note": "x" })).await;
    assert_eq!(code, "pull-request-state");
    assert_eq!(house.post(&format!("{PULL}/reopen"), json!({})).await["state"], "open");
    house.post(&format!("{PULL}/merge"), json!({})).await;
    let (code, _) = house.refused(&format!("{PULL}/reopen"), json!({})).await;
    assert_eq!(code, "pull-request-state");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_of_agents_and_people_comes_back_as_it_was_and_only_as_json() {
    let house = House::new().await;
    house.project("shop").await;
    let runner = Runner::register(&house).await;
    let evil = "<script>alert(1)</script>\u{202e}\"'&";
    let (run_id, _) = house.task("shop", evil).await;
    runner.play(&[("new.txt", "new\n")]).await;
    house.post(&format!("{PULL}/comments"), json!({ "body": evil })).await;
    for path in [PULL.to_owned(), format!("/api/v1/runs/{run_id}")] {
        let response = house.request(Method::GET, &path).send().await.expect("answered");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let found: serde_json::Value = response.json().await.expect("JSON");
        assert_eq!(found["title"], evil);
    }
    assert_eq!(house.get(PULL).await["comments"][0]["body"], evil);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_reads_and_does_nothing_else() {
    let house = House::new().await;
    house.project("shop").await;
    let runner = Runner::register(&house).await;
    house.task("shop", "Add a file").await;
    runner.play(&[("new.txt", "new\n")]).await;
    let viewer = house.token(windlass_wire::api::account::Role::Viewer).await;
    let get = |path: String| house.request_as(&viewer, Method::GET, &path).send();
    for path in ["", "/diff", "/diff.patch"] {
        assert_eq!(get(format!("{PULL}{path}")).await.expect("answered").status(), 200);
    }
    for path in ["comments", "approve", "request-changes", "merge", "close", "follow-up"] {
        let request = house.request_as(&viewer, Method::POST, &format!("{PULL}/{path}"));
        let response = request.json(&json!({ "body": "x" })).send().await.expect("answered");
        assert_eq!(problem(response).await.0, "forbidden", "{path}");
    }
}
