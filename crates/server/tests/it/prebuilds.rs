//! Prebuilds that nobody has to ask for, and what else a project wants of its environments.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::house::{Events, House, commit, expect, repository};

async fn change(house: &House, body: Value) -> Value {
    let request = house.request(Method::PATCH, "/api/v1/projects/api").json(&body);
    expect(StatusCode::OK, request).await
}

/// The prebuilds there are, the oldest first: id, branch, commit.
async fn prebuilds(house: &House) -> Vec<(String, String, Option<String>)> {
    let jobs = house.get("/api/v1/jobs?limit=200").await;
    let mut found = Vec::new();
    for job in jobs["items"].as_array().expect("jobs").iter().rev() {
        if job["title"] == "Prebuild" {
            let id = job["id"].as_str().expect("an id");
            let job = house.get(&format!("/api/v1/jobs/{id}")).await;
            let text = |value: &Value| value.as_str().map(str::to_owned);
            found.push((id.to_owned(), text(&job["base"]).expect("it"), text(&job["base_commit"])));
        }
    }
    found
}

/// Waits until there are so many.
async fn until(house: &House, count: usize) -> Vec<(String, String, Option<String>)> {
    let mut events = Events::open(house.request(Method::GET, "/api/v1/feed?after=0")).await;
    let wait = async {
        loop {
            let found = prebuilds(house).await;
            if found.len() >= count {
                assert_eq!(found.len(), count, "{found:?}");
                return found;
            }
            events.next().await.expect("the feed goes on");
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), wait).await.expect("it comes")
}

async fn stop(house: &House, job_id: &str) {
    let job = house.get(&format!("/api/v1/jobs/{job_id}")).await;
    let run = job["run_id"].as_str().expect("a run");
    house.post(&format!("/api/v1/runs/{run}/cancel"), json!({ "reason": "enough" })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_commit_of_the_default_branch_is_prepared_once() {
    let mut house = House::new().await;
    let from = house.project("api").await;
    let project = change(&house, json!({ "prebuild_on_push": true })).await;
    assert_eq!(project["settings"], json!({ "prebuild_on_push": true }));
    let head = |from: &std::path::Path| super::house::git(from, &["rev-parse", "HEAD"]);
    let [(first, base, at)] = until(&house, 1).await.try_into().expect("one");
    assert_eq!((base.as_str(), at), ("main", Some(head(&from))));
    stop(&house, &first).await;
    // The same commit is not prepared twice, not even by a server that was started anew.
    house.restart().await;
    std::fs::write(from.join("more.txt"), "more\n").expect("written");
    commit(&from, "more");
    // A task has the source read.
    house.task("api", "Anything").await;
    change(&house, json!({ "idle_minutes": 45 })).await;
    let all = until(&house, 2).await;
    assert_eq!(all[1].2, Some(head(&from)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_of_the_clock_is_one_prebuild() {
    let house = House::new().await;
    house.project("api").await;
    let wants = json!({ "prebuild_every_minutes": 43_200, "prebuild_network": ["pypi.org:443"] });
    let project = change(&house, wants).await;
    assert_eq!(project["settings"]["prebuild_every_minutes"], 43_200);
    let [(id, ..)] = until(&house, 1).await.try_into().expect("one");
    stop(&house, &id).await;
    // A look is due again by then, and what it does shows in the feed.
    change(&house, json!({ "prebuild_on_push": true })).await;
    let all = until(&house, 2).await;
    assert_eq!(all.len(), 2, "one by the clock, one of the commit");
    let project = change(&house, json!({ "prebuild_every_minutes": 0 })).await;
    assert_eq!(project["settings"].get("prebuild_every_minutes"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_is_refused_with_its_place() {
    let house = House::new().await;
    house.project("api").await;
    for (body, place) in [
        (json!({ "prebuild_every_minutes": 4 }), "prebuild_every_minutes"),
        (json!({ "prebuild_network": ["no port"] }), "prebuild_network"),
        (json!({ "idle_minutes": 525_601 }), "idle_minutes"),
    ] {
        let request = house.request(Method::PATCH, "/api/v1/projects/api").json(&body);
        let (code, problem) = super::house::problem(request.send().await.expect("answered")).await;
        assert_eq!((code.as_str(), &problem["place"]), ("bad-request", &json!(place)), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_that_does_not_say_otherwise_is_idle_as_its_project_says() {
    let house = House::new().await;
    house.project("api").await;
    change(&house, json!({ "idle_minutes": 45 })).await;
    let idle = async |body: Value| -> Value {
        house.post("/api/v1/environments", body).await["idle_minutes"].clone()
    };
    assert_eq!(idle(json!({ "project": "api" })).await, 45);
    assert_eq!(idle(json!({ "project": "api", "idle_minutes": 5 })).await, 5);
    change(&house, json!({ "idle_minutes": 0 })).await;
    assert_eq!(idle(json!({ "project": "api" })).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limits_of_environments_are_the_servers_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let from = folder.path().join("api");
    repository(&from);
    let house = House::with(|options| options.environment_limits.of_person = 1).await;
    house.post("/api/v1/projects", json!({ "source": { "kind": "path", "path": from } })).await;
    house.post("/api/v1/environments", json!({ "project": "api" })).await;
    let (code, problem) = house.refused("/api/v1/environments", json!({ "project": "api" })).await;
    assert_eq!(code, "limit-reached", "{problem}");
    let detail = problem["detail"].as_str().expect("words");
    assert!(
        detail.contains("at most 1 are allowed") && detail.contains("--environments-of-person"),
        "{detail}"
    );
}
