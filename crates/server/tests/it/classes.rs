//! Environment classes, and the labels that environments wait by.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use windlass_wire::{api::account::Role, runner::PROTOCOL};

use super::house::{House, expect, problem};

async fn patch(house: &House, path: &str, body: Value) -> Value {
    expect(StatusCode::OK, house.request(Method::PATCH, path).json(&body)).await
}

async fn runner(house: &House, name: &str, labels: &[&str]) {
    let token = house.token(Role::Runner).await;
    let body = json!({
        "name": name, "protocol": PROTOCOL, "version": "0.0.1", "previous": null,
        "capacity": 2, "environments": 4, "labels": labels,
    });
    let request = house.request_as(&token, Method::POST, "/api/v1/runner/register").json(&body);
    expect(StatusCode::OK, request).await;
}

async fn spec(house: &House, run: &Value) -> Value {
    let job = run["job_ids"][0].as_str().expect("a job");
    let event = house.wait_for(job, |event| event["event"] == "created").await;
    event["event"]["spec"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_is_made_changed_chosen_and_removed() {
    let house = House::new().await;
    house.project("shop").await;
    let usual = house.get("/api/v1/classes").await;
    let waits = "no runner is there";
    assert_eq!(
        usual,
        json!([{
            "name": "default", "gpu": false, "backend": "any", "built_in": true, "waits": waits,
        }])
    );
    let gives = json!({ "cpu_millis": 1500, "memory_mib": 4096, "gpu": true, "backend": "oci" });
    let big = house.post("/api/v1/classes", json!({ "name": "big", "gives": gives })).await;
    let expected = json!({
        "name": "big", "cpu_millis": 1500, "memory_mib": 4096, "gpu": true, "backend": "oci",
        "needs": ["gpu", "oci"], "waits": waits, "built_in": false,
    });
    assert_eq!(big, expected);
    runner(&house, "kettle", &["gpu", "oci", "linux"]).await;
    let big =
        patch(&house, "/api/v1/classes/big", json!({ "memory_mib": 0, "disk_mib": 99 })).await;
    assert_eq!((&big["memory_mib"], &big["disk_mib"]), (&Value::Null, &json!(99)));
    assert_eq!((&big["runners"], &big["waits"]), (&json!(["kettle"]), &Value::Null));

    // A run keeps the class as it was then.
    let run = json!({ "project": "shop", "task": "Do", "class": "big", "runs_on": ["linux"] });
    let run = house.post("/api/v1/runs", run).await;
    patch(&house, "/api/v1/classes/big", json!({ "disk_mib": 100, "backend": "any" })).await;
    let spec_of_it = spec(&house, &run).await;
    assert_eq!(spec_of_it["runs_on"], json!(["gpu", "linux", "oci"]));
    assert_eq!(spec_of_it["class"]["disk_bytes"], json!(99 << 20));
    // One that says nothing has its project's, else none.
    let plain = house.post("/api/v1/runs", json!({ "project": "shop", "task": "Do" })).await;
    assert_eq!(spec(&house, &plain).await.get("class"), None);
    let project = patch(&house, "/api/v1/projects/shop", json!({ "class": "big" })).await;
    assert_eq!(project["settings"]["class"], "big");
    let of_project = house.post("/api/v1/runs", json!({ "project": "shop", "task": "Do" })).await;
    assert_eq!(spec(&house, &of_project).await["class"]["name"], "big");

    let remove = || house.request(Method::DELETE, "/api/v1/classes/big").send();
    let (code, why) = problem(remove().await.expect("answered")).await;
    assert_eq!(code, "conflict", "{why}");
    assert!(why["detail"].as_str().is_some_and(|it| it.contains("project set shop")), "{why}");
    let project = patch(&house, "/api/v1/projects/shop", json!({ "class": "default" })).await;
    assert_eq!(project["settings"].get("class"), None);
    assert_eq!(remove().await.expect("answered").status(), StatusCode::NO_CONTENT);
    assert_eq!(remove().await.expect("answered").status(), StatusCode::NOT_FOUND);
    let page = house.text("/classes").await;
    assert!(page.contains("what the operator of the runner says"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_no_class_is_refused_with_its_place() {
    let house = House::new().await;
    house.project("shop").await;
    for (body, place) in [
        (json!({ "name": "Big" }), "name"),
        (json!({ "name": "a", "gives": { "cpu_millis": 5 } }), "cpus"),
        (json!({ "name": "a", "gives": { "memory_mib": 2 } }), "memory_mib"),
        (json!({ "name": "a", "gives": { "backend": "vm" } }), "backend"),
        (json!({ "name": "a", "gives": { "runs_on": ["No Label"] } }), "runs_on"),
    ] {
        let (code, why) = house.refused("/api/v1/classes", body).await;
        assert_eq!((code.as_str(), &why["place"]), ("bad-request", &json!(place)), "{why}");
    }
    let (code, _) = house.refused("/api/v1/classes", json!({ "name": "default" })).await;
    assert_eq!(code, "name-taken");
    for (path, body) in [
        ("/api/v1/runs", json!({ "project": "shop", "task": "Do", "class": "none" })),
        ("/api/v1/environments", json!({ "project": "shop", "class": "none" })),
    ] {
        let (code, why) = house.refused(path, body).await;
        assert_eq!((code.as_str(), &why["place"]), ("bad-request", &json!("class")), "{why}");
    }
    let operator = house.token(Role::Operator).await;
    let request = house.request_as(&operator, Method::POST, "/api/v1/classes");
    let answer = request.json(&json!({ "name": "a" })).send().await.expect("answered");
    assert_eq!(problem(answer).await.0, "forbidden");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_waits_for_a_runner_with_its_labels_and_says_so() {
    let house = House::new().await;
    house.project("shop").await;
    house.post("/api/v1/classes", json!({ "name": "big", "gives": { "gpu": true } })).await;
    runner(&house, "kettle", &["linux"]).await;
    let wanted = json!({
        "project": "shop", "name": "try-it", "class": "big", "runs_on": ["region=eu"],
    });
    let made = house.post("/api/v1/environments", wanted).await;
    assert_eq!((&made["class"], &made["phase"]), (&json!("big"), &json!("creating")));
    assert_eq!(made["runs_on"], json!(["gpu", "region=eu"]));
    let why = "no runner that is there and keeps environments has the labels gpu,region=eu";
    assert_eq!(made["reason"], why);
    assert_eq!(made["archive_days"], 14);
    let page = house.text("/environments/try-it").await;
    assert!(page.contains(why) && page.contains("region=eu"), "{page}");
    runner(&house, "pot", &["gpu", "region=eu"]).await;
    let made = house.get("/api/v1/environments/try-it").await;
    assert_eq!(made["reason"], "waits for a runner that has room; --environments N gives one more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_until_the_archive_is_the_projects_or_the_servers() {
    let house = House::with(|options| options.archive_after = None).await;
    house.project("shop").await;
    let days = async || -> Value {
        house.post("/api/v1/environments", json!({ "project": "shop" })).await["archive_days"]
            .clone()
    };
    assert_eq!(days().await, Value::Null);
    patch(&house, "/api/v1/projects/shop", json!({ "archive_days": 3 })).await;
    assert_eq!(days().await, 3);
    patch(&house, "/api/v1/projects/shop", json!({ "archive_days": 0 })).await;
    assert_eq!(days().await, Value::Null);
    let far = house.request(Method::PATCH, "/api/v1/projects/shop");
    let far = far.json(&json!({ "archive_days": 4000 })).send().await.expect("answered");
    assert_eq!(problem(far).await.1["place"], "archive_days");
}
