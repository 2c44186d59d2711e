//! The copy of a user's repository: in step with it, and never losing what was merged here.

use serde_json::json;

use super::{
    house::{House, commit, git},
    scripted_runner::Runner,
};

const PULL: &str = "/api/v1/projects/shop/pull-requests/1";

async fn merged_here(house: &House, runner: &Runner<'_>) -> String {
    house.task("shop", "Add a file").await;
    runner.play(&[("new.txt", "new\n")]).await;
    let merged = house.post(&format!("{PULL}/merge"), json!({})).await;
    merged["commit"].as_str().expect("a commit").to_owned()
}

/// The base of the next job, as its runner sees it.
async fn base_of_next(house: &House, runner: &Runner<'_>) -> String {
    house.task("shop", "Look").await;
    let held = runner.lease().await;
    let folder = tempfile::tempdir().expect("tempdir");
    let (_, base) = runner.clone(&held, folder.path());
    base
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_starts_from_what_was_committed_before_it_was_asked_for() {
    let house = House::new().await;
    let source = house.project("shop").await;
    let runner = Runner::register(&house).await;
    for text in ["one\n", "two\n", "three\n"] {
        std::fs::write(source.join("greeting.txt"), text).expect("written");
        let head = commit(&source, text.trim());
        assert_eq!(base_of_next(&house, &runner).await, head);
    }
    // A rewritten history is followed as long as nothing was merged here.
    git(&source, &["reset", "--quiet", "--hard", "HEAD~2"]);
    std::fs::write(source.join("greeting.txt"), "rewritten\n").expect("written");
    let head = commit(&source, "Rewritten");
    assert_eq!(base_of_next(&house, &runner).await, head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_merged_here_stays_until_the_source_has_it_too() {
    let house = House::new().await;
    let source = house.project("shop").await;
    let runner = Runner::register(&house).await;
    let merged = merged_here(&house, &runner).await;
    assert_eq!(base_of_next(&house, &runner).await, merged);

    // The user goes on without it: both are joined, and nothing of either is lost.
    std::fs::write(source.join("theirs.txt"), "theirs\n").expect("written");
    let theirs = commit(&source, "Theirs");
    let joined = base_of_next(&house, &runner).await;
    let clone = house.url.replace("://", &format!("://x:{}@", house.admin)) + "/git/shop.git";
    let folder = tempfile::tempdir().expect("tempdir");
    git(folder.path(), &["clone", "--quiet", &clone, "copy"]);
    let copy = folder.path().join("copy");
    for part in [&merged, &theirs] {
        git(&copy, &["merge-base", "--is-ancestor", part, &joined]);
    }
    assert!(copy.join("new.txt").exists() && copy.join("theirs.txt").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn branches_that_went_apart_are_said_and_nothing_is_forced() {
    let house = House::new().await;
    let source = house.project("shop").await;
    let runner = Runner::register(&house).await;
    let merged = merged_here(&house, &runner).await;
    std::fs::write(source.join("new.txt"), "another new\n").expect("written");
    commit(&source, "The same file");
    let run = house.post("/api/v1/runs", json!({ "project": "shop", "task": "Do it" })).await;
    assert!(run["notes"].to_string().contains("main went apart"), "{run}");
    let held = runner.lease().await;
    let folder = tempfile::tempdir().expect("tempdir");
    assert_eq!(runner.clone(&held, folder.path()).1, merged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_again_after_a_restart() {
    let mut house = House::new().await;
    house.project("shop").await;
    let runner = Runner::register(&house).await;
    let merged = merged_here(&house, &runner).await;
    drop(runner);
    house.restart().await;
    assert_eq!(house.get(PULL).await["merge_commit"], merged);
    let runner = Runner::register(&house).await;
    assert_eq!(base_of_next(&house, &runner).await, merged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_is_added_once_and_its_name_is_its_own() {
    let house = House::new().await;
    let source = house.project("shop").await;
    let body = json!({ "source": { "kind": "path", "path": source } });
    let again = house.request(reqwest::Method::POST, "/api/v1/projects").json(&body);
    assert_eq!(again.send().await.expect("answered").status(), 200);
    let other = house.folder.path().join("elsewhere");
    super::house::repository(&other);
    let body = json!({ "name": "shop", "source": { "kind": "path", "path": other } });
    assert_eq!(house.refused("/api/v1/projects", body).await.0, "name-taken");

    house.task("shop", "Do it").await;
    let removed = house.request(reqwest::Method::DELETE, "/api/v1/projects/shop");
    assert_eq!(removed.send().await.expect("answered").status(), 204);
    assert_eq!(house.get("/api/v1/projects").await, json!({ "items": [] }));
    let body = json!({ "project": "shop", "task": "Do it" });
    assert_eq!(house.refused("/api/v1/runs", body).await.0, "not-found");
    let runner = Runner::register(&house).await;
    assert!(runner.lease_within(0).await.is_empty(), "a removed project's job is not given out");
}
