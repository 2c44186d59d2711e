//! Runners as people manage them, and what a runner's token is good for.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use windlass_wire::{api::account::Role, runner::PROTOCOL};

use super::{
    house::{House, expect, problem},
    scripted_runner::Runner,
};

fn register(previous: Option<&str>, labels: &[&str]) -> Value {
    json!({
        "name": "kettle", "protocol": PROTOCOL, "version": "0.0.1", "previous": previous,
        "capacity": 2, "labels": labels,
    })
}

async fn registered(house: &House, token: &str, body: &Value) -> Value {
    let request = house.request_as(token, Method::POST, "/api/v1/runner/register").json(body);
    expect(StatusCode::OK, request).await["runner_id"].clone()
}

async fn refused(house: &House, token: &str, path: &str, body: &Value) -> (String, Value) {
    let request = house.request_as(token, Method::POST, path).json(body);
    problem(request.send().await.expect("answered")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_speaks_for_its_own_runner_only() {
    let house = House::new().await;
    let victim = Runner::register(&house).await;
    let token = house.token(Role::Runner).await;
    let lease = json!({ "runner_id": victim.id, "max": 1, "wait_ms": 0 });
    let (code, _) = refused(&house, &token, "/api/v1/runner/lease", &lease).await;
    assert_eq!(code, "forbidden", "before it registered");
    registered(&house, &token, &register(None, &[])).await;
    let calls = [
        ("lease", lease),
        ("report", json!({ "runner_id": victim.id, "jobs": [] })),
        ("streams", json!({ "runner_id": victim.id, "pieces": [] })),
        (
            "environments",
            json!({
                "runner_id": victim.id, "capacity": 1, "told": "", "wait_ms": 0, "observed": [],
            }),
        ),
    ];
    for (call, body) in calls {
        let path = format!("/api/v1/runner/{call}");
        let (code, problem) = refused(&house, &token, &path, &body).await;
        assert_eq!(code, "forbidden", "{call}: {problem}");
        let why = problem["detail"].as_str().expect("a detail");
        assert!(why.contains("belongs to the runner"), "{call}: {why}");
    }
    // Nor does it become the other one by saying so.
    let other = victim.id.to_string();
    let body = register(Some(&other), &[]);
    let (code, _) = refused(&house, &token, "/api/v1/runner/register", &body).await;
    assert_eq!(code, "forbidden");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_lets_one_runner_join_and_is_shown_once() {
    let house = House::new().await;
    let invite = || {
        let request = house.request(Method::POST, "/api/v1/runners/invitations");
        request.header("Idempotency-Key", "once").json(&json!({ "expires_in": 60 }))
    };
    let answer = expect(StatusCode::CREATED, invite()).await;
    let code = answer["code"].as_str().expect("a code").to_owned();
    assert_eq!(answer["server"], json!(house.url));
    // The answer is not kept: the same request again does not give it.
    let again = invite().send().await.expect("answered");
    let (kind, told) = problem(again).await;
    assert_eq!(kind, "conflict");
    assert!(!told.to_string().contains(&code), "{told}");
    assert_eq!(refused_to(&house, Role::Operator).await, "forbidden");

    let digest = |token: &str| {
        use sha2::{Digest as _, Sha256};
        let digest = Sha256::digest(token);
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let join = |code: &str, token: &str| {
        let body = json!({
            "code": code, "token_sha256": digest(token), "name": "kettle",
            "protocol": PROTOCOL, "version": "0.0.1",
        });
        house.http.post(format!("{}/api/v1/runner/join", house.url)).json(&body)
    };
    let wrong = problem(join("wlj_guess", "wl_own").send().await.expect("answered")).await;
    assert_eq!(wrong.0, "not-signed-in");
    let joined = expect(StatusCode::OK, join(&code, "wl_own")).await;
    assert_eq!(expect(StatusCode::OK, join(&code, "wl_own")).await, joined);
    let other = problem(join(&code, "wl_other").send().await.expect("answered")).await;
    assert_eq!(other.0, "not-signed-in");

    let id = joined["runner_id"].as_str().expect("an id");
    let body = register(Some(id), &["gpu"]);
    assert_eq!(registered(&house, "wl_own", &body).await, joined["runner_id"]);
    let runner = house.get("/api/v1/runners/kettle").await;
    assert_eq!((&runner["id"], &runner["labels"]), (&joined["runner_id"], &json!(["gpu"])));
    let problem = runner["problems"][0].as_str().expect("a problem");
    assert!(problem.starts_with("It is windlass 0.0.1, this server is "), "{problem}");
}

async fn refused_to(house: &House, role: Role) -> String {
    let token = house.token(role).await;
    refused(house, &token, "/api/v1/runners/invitations", &json!({})).await.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_ends_the_wait_for_jobs_and_a_removed_runner_is_shut_out() {
    let house = House::new().await;
    let token = house.token(Role::Runner).await;
    let id = registered(&house, &token, &register(None, &[])).await;
    let lease = json!({
        "runner_id": id, "max": 1, "wait_ms": 30_000,
        "health": { "disk_free": 1, "disk": 1_000 },
    });
    let waiting = house.request_as(&token, Method::POST, "/api/v1/runner/lease").json(&lease);
    let waiting = tokio::spawn(async move { waiting.send().await.expect("answered") });
    // It is heard of before it is told, so that its machine is known.
    while house.get("/api/v1/runners/kettle").await["health"].is_null() {
        tokio::task::yield_now().await;
    }
    let tell = |wish: &str| {
        let request = house.request(Method::PATCH, "/api/v1/runners/kettle");
        request.json(&json!({ "wish": wish }))
    };
    assert_eq!(expect(StatusCode::OK, tell("drain")).await["wish"], json!("drain"));
    let answer: Value = waiting.await.expect("it ends").json().await.expect("JSON");
    assert_eq!(answer, json!({ "wish": "drain", "leases": [] }));
    let runner = house.get("/api/v1/runners/kettle").await;
    let problems = runner["problems"].as_array().expect("problems");
    let disk = problems.iter().filter_map(Value::as_str).any(|p| p.contains("disk is nearly full"));
    assert!(disk, "{problems:?}");

    house.project("shop").await;
    let (_, job) = house.task("shop", "Wait").await;
    let page = house.text(&format!("/jobs/{job}")).await;
    assert!(page.contains("every runner that could take it is drained"), "{page}");
    let odd = json!({ "project": "shop", "task": "Wait", "runs_on": ["No Label"] });
    let (code, why) = house.refused("/api/v1/runs", odd).await;
    assert_eq!((code.as_str(), &why["place"]), ("invalid-spec", &json!("runs_on")));
    let moon = json!({ "project": "shop", "task": "Wait", "runs_on": ["moon"] });
    let moon = house.post("/api/v1/runs", moon).await;
    let page = house.text(&format!("/jobs/{}", moon["job_ids"][0].as_str().expect("a job"))).await;
    assert!(page.contains("no runner that is there has the labels moon"), "{page}");

    let remove = house.request(Method::DELETE, "/api/v1/runners/kettle");
    assert_eq!(remove.send().await.expect("answered").status(), StatusCode::NO_CONTENT);
    let (code, _) = refused(&house, &token, "/api/v1/runner/lease", &lease).await;
    assert_eq!(code, "not-signed-in");
    let gone = house.request(Method::GET, "/api/v1/runners/kettle").send().await.expect("answered");
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}
