//! Secrets and variables by API: who may set what, what is shown, and what the runner of a job gets.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use windlass_run::{RunnerId, StepId, Time, job::Report};
use windlass_wire::{
    api::account::Role,
    runner::{Secret, SecretFile, Secrets},
};

use super::{
    house::{House, expect, problem},
    scripted_runner::{Held, Runner},
};

/// Values that must never be seen outside of a runner's answer.
const FIRST: &str = "hunter2hunter2-first";
const SECOND: &str = "correct horse battery staple";

fn set(house: &House, token: &str, body: &Value) -> reqwest::RequestBuilder {
    house.request_as(token, Method::PUT, "/api/v1/secrets").json(body)
}

fn secret(name: &str, value: &str) -> Value {
    json!({ "kind": "secret", "scope": "organisation", "name": name, "value": value })
}

fn with(mut body: Value, more: Value) -> Value {
    let more = more.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(more);
    body
}

/// Starts a job with these steps and takes its lease.
async fn leased<'a>(house: &'a House, run: Value) -> (Runner<'a>, Held) {
    house.post("/api/v1/runs", run).await;
    let runner = Runner::register(house).await;
    let held = runner.lease().await;
    (runner, held)
}

fn run(steps: &[&str]) -> Value {
    let steps: Vec<_> = steps
        .iter()
        .map(|id| match *id {
            "agent" => json!({ "id": id, "action": { "kind": "agent", "prompt": "Do it" } }),
            id => json!({ "id": id, "action": { "kind": "run", "command": "true" } }),
        })
        .collect();
    json!({ "project": "shop", "title": "Build", "steps": steps })
}

fn address(held: &Held, runner_id: &RunnerId, epoch: u64) -> String {
    let job_id = &held.lease.job_id;
    format!("/api/v1/runner/jobs/{job_id}/secrets?runner_id={runner_id}&epoch={epoch}")
}

async fn given(runner: &Runner<'_>, held: &Held) -> Vec<Secret> {
    let path = address(held, &runner.id, held.lease.epoch);
    let request = runner.house.request_as(&runner.token, Method::GET, &path);
    let answer = expect(StatusCode::OK, request).await;
    serde_json::from_value::<Secrets>(answer).expect("secrets").secrets
}

fn brief(given: &[Secret]) -> Vec<String> {
    let steps = |secret: &Secret| {
        secret.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("+")
    };
    given
        .iter()
        .map(|secret| format!("{}={}@{}", secret.name, secret.value, steps(secret)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_goes_in_and_comes_out_only_to_the_runner_of_a_job() {
    let house = House::new().await;
    house.project("shop").await;
    let created =
        set(&house, &house.admin, &secret("TOKEN", FIRST)).send().await.expect("answered");
    assert_eq!(created.status(), 201);
    let created: Value = created.json().await.expect("JSON");
    assert_eq!((&created["version"], &created["value"]), (&json!(1), &Value::Null), "{created}");
    let file = json!({ "form": { "kind": "file", "path": "/run/secrets/key", "mode": "0400" } });
    expect(StatusCode::CREATED, set(&house, &house.admin, &with(secret("KEY", FIRST), file))).await;
    let variable = json!({
        "kind": "variable", "scope": "project", "project": "shop", "name": "LEVEL", "value": "3",
    });
    expect(StatusCode::CREATED, set(&house, &house.admin, &variable)).await;

    let (runner, held) = leased(&house, run(&["build"])).await;
    let mut got = given(&runner, &held).await;
    got.sort_by(|a, b| a.name.cmp(&b.name));
    let steps = held.lease.state.spec.steps.iter().map(|step| step.id.clone()).collect::<Vec<_>>();
    let of = |name: &str, value: &str, is_secret, file| Secret {
        name: name.to_owned(),
        is_secret,
        file,
        door: None,
        registry: None,
        value: value.to_owned(),
        steps: steps.clone(),
        in_setup: false,
    };
    let key = SecretFile { path: "/run/secrets/key".to_owned(), mode: 0o400 };
    assert_eq!(
        got,
        [
            of("KEY", FIRST, true, Some(key)),
            of("LEVEL", "3", false, None),
            of("TOKEN", FIRST, true, None),
        ]
    );

    // Set again, it is given at the next question; its form stays.
    let rotated = expect(StatusCode::OK, set(&house, &house.admin, &secret("KEY", SECOND))).await;
    assert_eq!(rotated["version"], 2);
    assert_eq!(rotated["form"]["path"], "/run/secrets/key");
    let got = given(&runner, &held).await;
    assert!(got.iter().any(|secret| secret.name == "KEY" && secret.value == SECOND));

    // Nobody else, and nobody later: another runner, another epoch, a person.
    let other = RunnerId::new(Time::from_micros(1), 1);
    for path in
        [address(&held, &other, held.lease.epoch), address(&held, &runner.id, held.lease.epoch + 1)]
    {
        let request = house.request_as(&runner.token, Method::GET, &path);
        assert_eq!(problem(request.send().await.expect("answered")).await.0, "lease-lost");
    }
    let path = address(&held, &runner.id, held.lease.epoch);
    let admin = house.request(Method::GET, &path).send().await.expect("answered");
    assert_eq!(problem(admin).await.0, "forbidden");

    seen_nowhere(&house, &held).await;
}

/// No answer, journal, audit entry or byte of the database has a value.
async fn seen_nowhere(house: &House, held: &Held) {
    let listed = house.get("/api/v1/secrets").await;
    let names: Vec<_> = listed["items"].as_array().expect("items").iter().collect();
    assert_eq!(names.len(), 3, "{listed}");
    assert_eq!(names[1]["value"], "3", "a variable is shown: {listed}");
    let id = names[0]["id"].as_str().expect("an id");
    let one = house.get(&format!("/api/v1/secrets/{id}")).await;
    assert_eq!(&one, names[0]);
    let job = house.get(&format!("/api/v1/jobs/{}", held.lease.job_id)).await;
    let organisation = house.store.organisations().await.expect("read").pop().expect("one");
    let journal = house.store.journal(&organisation.id, &held.lease.job_id, 0, 100).await;
    let audit = house.store.audit(&organisation.id, None, 100).await.expect("read");
    assert!(audit.iter().any(|entry| entry.command == "secret.update"), "{audit:?}");
    let all = format!("{listed}{one}{job}{:?}{audit:?}", journal.expect("read"));
    let mut files = vec![house.folder.path().to_owned()];
    let mut bytes = all.into_bytes();
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder");
            files.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else {
            bytes.extend(std::fs::read(&path).unwrap_or_default());
        }
    }
    for value in [FIRST, SECOND] {
        let found = bytes.windows(value.len()).any(|window| window == value.as_bytes());
        assert!(!found, "{value} was written down somewhere");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_gets_what_its_project_branch_and_name_are_granted() {
    let house = House::new().await;
    house.project("shop").await;
    house.project("depot").await;
    let everywhere = json!({});
    let project = |name: &str| json!({ "scope": "project", "project": name });
    let only = |grants: Value| json!({ "grants": grants });
    for (name, value, more) in [
        ("A", "of everybody", everywhere.clone()),
        ("B", "of the shop", project("shop")),
        ("C", "of the depot", project("depot")),
        ("D", "on main only", only(json!({ "branches": ["main"] }))),
        ("E", "on releases", only(json!({ "branches": ["release/*"] }))),
        ("F", "to deploy only", only(json!({ "steps": ["deploy"] }))),
        ("G", "for the depot", only(json!({ "projects": ["depot"] }))),
        ("A", "of the shop", project("shop")),
    ] {
        let body = with(secret(name, value), more);
        expect(StatusCode::CREATED, set(&house, &house.admin, &body)).await;
    }
    let (runner, held) = leased(&house, run(&["build", "agent", "test", "deploy"])).await;
    let mut got = brief(&given(&runner, &held).await);
    got.sort();
    // After the agent, only the step that a grant names is given anything.
    let expected = [
        "A=of the shop@build",
        "B=of the shop@build",
        "D=on main only@build",
        "F=to deploy only@deploy",
    ];
    assert_eq!(got, expected);
    let shown = house.get("/api/v1/secrets?name=G").await;
    assert_eq!(shown["items"][0]["grants"], json!({ "projects": ["depot"] }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_without_run_steps_is_given_nothing() {
    let house = House::new().await;
    house.project("shop").await;
    expect(StatusCode::CREATED, set(&house, &house.admin, &secret("TOKEN", FIRST))).await;
    let (runner, held) = leased(&house, run(&["agent"])).await;
    assert_eq!(given(&runner, &held).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_set_their_own_and_admins_all() {
    let house = House::new().await;
    house.project("shop").await;
    let operator = house.token(Role::Operator).await;
    let viewer = house.token(Role::Viewer).await;
    let project = with(secret("A", FIRST), json!({ "scope": "project", "project": "shop" }));
    for body in [secret("A", FIRST), project] {
        let refused = set(&house, &operator, &body).send().await.expect("answered");
        let (code, problem) = problem(refused).await;
        assert_eq!((code.as_str(), &problem["place"]), ("forbidden", &json!("scope")));
        assert!(!problem.to_string().contains(FIRST), "{problem}");
    }
    let own = with(secret("A", FIRST), json!({ "scope": "user" }));
    let refused = set(&house, &viewer, &own).send().await.expect("answered");
    assert_eq!(problem(refused).await.0, "forbidden");
    // A token that no user made has no user whose secrets they could be.
    let refused = set(&house, &operator, &own).send().await.expect("answered");
    let (code, why) = problem(refused).await;
    assert_eq!((code.as_str(), &why["place"]), ("bad-request", &json!("scope")));

    let (ann, ben) = (user_token(&house, "ann").await, user_token(&house, "ben").await);
    let set_own = expect(StatusCode::CREATED, set(&house, &ann, &own)).await;
    let path = format!("/api/v1/secrets/{}", set_own["id"].as_str().expect("an id"));
    for method in [Method::GET, Method::DELETE] {
        let request = house.request_as(&ben, method, &path);
        assert_eq!(problem(request.send().await.expect("answered")).await.0, "not-found");
    }
    let listed = async |token: &str| {
        let request = house.request_as(token, Method::GET, "/api/v1/secrets");
        expect(StatusCode::OK, request).await["items"].as_array().expect("items").len()
    };
    assert_eq!((listed(&ann).await, listed(&ben).await), (1, 0));
    assert_eq!(listed(&house.admin.clone()).await, 1);

    // A job that Ann started is given it, one of Ben's is not.
    let start = async |token: &str| {
        let request = house.request_as(token, Method::POST, "/api/v1/runs");
        expect(StatusCode::CREATED, request.json(&run(&["build"]))).await;
        let runner = Runner::register(&house).await;
        let held = runner.lease().await;
        brief(&given(&runner, &held).await)
    };
    assert_eq!(start(&ann).await, [format!("A={FIRST}@build")]);
    assert_eq!(start(&ben).await, [""; 0]);

    let removed = house.request_as(&ann, Method::DELETE, &path).send().await.expect("answered");
    assert_eq!(removed.status(), 204);
    assert_eq!(listed(&house.admin.clone()).await, 0);
}

/// A token of a user with the role operator.
async fn user_token(house: &House, name: &str) -> String {
    let user = house.post("/api/v1/users", json!({ "name": name, "role": "operator" })).await;
    let link = user["sign_in_link"].as_str().expect("a link");
    let secret = link.split("link=").nth(1).expect("a link").to_owned();
    let signed_in = house
        .http
        .post(format!("{}/sign-in", house.url))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "same-origin")
        .body(format!("link={secret}&next=/"))
        .send()
        .await
        .expect("answered");
    let cookie = signed_in.headers()["set-cookie"].to_str().expect("text");
    let cookie = cookie.split(';').next().expect("a cookie").to_owned();
    let session = cookie.split_once('=').expect("a cookie").1.to_owned();
    use sha2::{Digest as _, Sha256};
    let csrf: String = Sha256::digest(format!("csrf:{session}"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let request = house
        .http
        .post(format!("{}/api/v1/tokens", house.url))
        .header("cookie", cookie)
        .header("sec-fetch-site", "same-origin")
        .header("x-windlass-csrf", csrf)
        .json(&json!({ "name": name, "role": "operator" }));
    let made = expect(StatusCode::CREATED, request).await;
    made["secret"].as_str().expect("a secret").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_a_secret_is_refused_with_its_place_and_without_its_value() {
    let house = House::new().await;
    let file = |path: &str, mode: &str| {
        let form = json!({ "form": { "kind": "file", "path": path, "mode": mode } });
        with(secret("KEY", FIRST), form)
    };
    let cases = [
        (secret("1A", FIRST), "name"),
        (secret("PATH", FIRST), "name"),
        (secret("HTTPS_PROXY", FIRST), "name"),
        (secret("WINDLASS_X", FIRST), "name"),
        (secret("A", "hunter2"), "value"),
        (secret("A", "hunter2hunter2\0"), "value"),
        (secret("A", &"hunter2".repeat(10_000)), "value"),
        (file("/etc/shadow", "0600"), "form.path"),
        (file("/run/secrets/../x", "0600"), "form.path"),
        (file("/run/secrets/key", "0644"), "form.mode"),
        (file("/run/secrets/key", "rw"), "form.mode"),
        (with(secret("A", FIRST), json!({ "scope": "project" })), "project"),
        (with(secret("A", FIRST), json!({ "project": "shop" })), "project"),
        (with(secret("A", FIRST), json!({ "grants": { "branches": [""] } })), "grants.branches"),
    ];
    for (body, place) in cases {
        let response = set(&house, &house.admin, &body).send().await.expect("answered");
        let (code, problem) = problem(response).await;
        let found = (code.as_str(), problem["place"].as_str().expect("a place"));
        assert_eq!(found, ("bad-request", place), "{problem}");
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
    let number =
        json!({ "kind": "secret", "scope": "organisation", "name": "A", "value": 12345678 });
    let response = set(&house, &house.admin, &number).send().await.expect("answered");
    let (_, problem) = problem(response).await;
    assert!(!problem.to_string().contains("12345678"), "{problem}");

    expect(StatusCode::CREATED, set(&house, &house.admin, &secret("A", FIRST))).await;
    let variable = with(secret("A", FIRST), json!({ "kind": "variable" }));
    let response = set(&house, &house.admin, &variable).send().await.expect("answered");
    let (code, why) = super::house::problem(response).await;
    assert_eq!(code, "conflict", "{why}");
    assert!(why["detail"].as_str().expect("text").contains("remove it first"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_under_another_key_is_said_and_nothing_is_given() {
    let mut house = House::new().await;
    house.project("shop").await;
    expect(StatusCode::CREATED, set(&house, &house.admin, &secret("TOKEN", FIRST))).await;
    std::fs::remove_file(house.folder.path().join("data/secrets.key")).expect("it was there");
    house.restart().await;
    let (runner, held) = leased(&house, run(&["build"])).await;
    let path = address(&held, &runner.id, held.lease.epoch);
    let request = house.request_as(&runner.token, Method::GET, &path);
    let (code, problem) = problem(request.send().await.expect("answered")).await;
    assert_eq!(code, "secret-unreadable");
    let detail = problem["detail"].as_str().expect("text");
    assert!(detail.starts_with("the secret TOKEN (organisation, version 1)"), "{detail}");
    assert!(detail.contains("set it again"), "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_set_up_is_given_what_names_it_until_an_agent_has_begun() {
    let house = House::new().await;
    house.project("shop").await;
    let only = |grants: Value| json!({ "grants": grants });
    for (name, more) in [
        ("EVERYWHERE", json!({})),
        ("STARRED", only(json!({ "steps": ["*"] }))),
        ("NAMED", only(json!({ "steps": ["setup"] }))),
        ("ELSEWHERE", only(json!({ "steps": ["setup"], "branches": ["release/*"] }))),
    ] {
        let body = with(secret(name, FIRST), more);
        expect(StatusCode::CREATED, set(&house, &house.admin, &body)).await;
    }
    let in_setup = |given: &[Secret]| -> Vec<String> {
        let named = given.iter().filter(|secret| secret.in_setup);
        named.map(|secret| secret.name.clone()).collect()
    };
    let (runner, mut held) = leased(&house, run(&["agent", "build"])).await;
    assert_eq!(in_setup(&given(&runner, &held).await), ["NAMED"]);
    let step_id = StepId::parse("agent").expect("a name");
    runner.report(&mut held, vec![Report::StepStarted { step_id }]).await;
    assert_eq!(in_setup(&given(&runner, &held).await), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_are_pulled_with_the_most_special_login_of_each_registry() {
    let house = House::new().await;
    house.project("shop").await;
    let form = |host: &str| json!({ "kind": "registry", "host": host, "user": "ada" });
    let (a, b) = ("a.example", "b.example:5000");
    for (name, value, more) in [
        ("A", "of everybody", json!({ "form": form(a) })),
        ("B", "of everybody", json!({ "form": form(b) })),
        ("C", "of the shop", json!({ "form": form(a), "scope": "project", "project": "shop" })),
        ("D", "on releases", json!({ "form": form(b), "grants": { "branches": ["release"] } })),
    ] {
        let body = with(secret(name, value), more);
        expect(StatusCode::CREATED, set(&house, &house.admin, &body)).await;
    }
    let (runner, held) = leased(&house, run(&["build"])).await;
    let given = given(&runner, &held).await;
    let mut logins: Vec<_> = given
        .iter()
        .map(|secret| {
            let login = secret.registry.as_ref().expect("a login");
            assert!(secret.steps.is_empty() && !secret.in_setup, "{secret:?}");
            (login.host.as_str(), login.user.as_str(), secret.value.as_str())
        })
        .collect();
    logins.sort_unstable();
    assert_eq!(logins, [(a, "ada", "of the shop"), (b, "ada", "of everybody")]);
    let body =
        with(secret("E", FIRST), json!({ "form": form(a), "grants": { "steps": ["build"] } }));
    let refused = set(&house, &house.admin, &body).send().await.expect("answered");
    assert_eq!(problem(refused).await.0, "bad-request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_sensitive_if_its_agent_may_read_a_secret_and_stays_what_it_was() {
    let house = House::new().await;
    house.project("shop").await;
    let beside = json!({ "grants": { "beside_agents": true } });
    let body = with(secret("TOKEN", FIRST), beside.clone());
    expect(StatusCode::CREATED, set(&house, &house.admin, &body)).await;
    let (runner, held) = leased(&house, run(&["build", "agent"])).await;
    assert_eq!(held.lease.state.spec.sensitive, ["TOKEN"]);
    assert_eq!(brief(&given(&runner, &held).await), [format!("TOKEN={FIRST}@build+agent")]);
    // One that comes later is not slipped under a job that began without it.
    let body = with(secret("LATER", SECOND), beside);
    expect(StatusCode::CREATED, set(&house, &house.admin, &body)).await;
    let mut got = brief(&given(&runner, &held).await);
    got.sort();
    assert_eq!(got, [format!("LATER={SECOND}@build"), format!("TOKEN={FIRST}@build+agent")]);
    let shown = house.get("/api/v1/secrets?name=TOKEN").await;
    assert_eq!(shown["items"][0]["grants"], json!({ "beside_agents": true }));
}
