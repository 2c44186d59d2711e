//! Signing in, sessions, forms, tokens and invitations.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::json;
use windlass_wire::api::account::Role;

use super::house::{House, expect, problem};

/// Signs in by a link, as a browser does: the answer.
async fn sign_in(house: &House, link: &str, next: &str) -> Response {
    let secret = link.split("link=").nth(1).expect("a link");
    let form = format!("link={secret}&next={next}");
    browser(house, Method::POST, "/sign-in", "same-origin")
        .body(form)
        .send()
        .await
        .expect("answered")
}

fn browser(house: &House, method: Method, path: &str, site: &str) -> RequestBuilder {
    house
        .http
        .request(method, format!("{}{path}", house.url))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", site)
}

fn cookie(response: &Response) -> String {
    let cookie = response.headers()["set-cookie"].to_str().expect("text");
    assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Lax"), "{cookie}");
    cookie.split(';').next().expect("a cookie").to_owned()
}

fn csrf(cookie: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let session = cookie.split_once('=').expect("a cookie").1;
    let digest = Sha256::digest(format!("csrf:{session}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_link_signs_the_admin_in_once() {
    let house = House::new().await;
    let link = house.handle().sign_in_link(false).await.expect("made").expect("the first start");
    assert!(link.starts_with(&house.url), "{link}");
    assert!(house.handle().sign_in_link(false).await.expect("asked").is_none());

    let response = sign_in(&house, &link, "/runs").await;
    assert_eq!(response.status(), 303);
    assert_eq!(response.headers()["location"], "/runs");
    let session = cookie(&response);
    let me = house.http.get(format!("{}/api/v1/me", house.url)).header("cookie", &session);
    let me = expect(reqwest::StatusCode::OK, me).await;
    assert_eq!((&me["name"], &me["role"]), (&json!("admin"), &json!("admin")));

    let (code, _) = problem(sign_in(&house, &link, "/").await).await;
    assert_eq!(code, "link-spent");
    let other = house.handle().sign_in_link(true).await.expect("made").expect("another");
    assert_eq!(sign_in(&house, &other, "//evil.test").await.headers()["location"], "/");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cookie_signs_in_must_come_from_our_own_pages() {
    let house = House::new().await;
    let link = house.handle().sign_in_link(false).await.expect("made").expect("a link");
    let session = cookie(&sign_in(&house, &link, "/").await);
    let token = csrf(&session);
    let post = |site: &str, body: String| {
        let request = browser(&house, Method::POST, "/sign-out", site).header("cookie", &session);
        request.body(body).send()
    };
    for (site, body) in [
        ("cross-site", format!("csrf={token}")),
        ("same-site", format!("csrf={token}")),
        ("none", format!("csrf={token}")),
        ("same-origin", String::new()),
        ("same-origin", "csrf=".to_owned()),
        ("same-origin", format!("csrf={}", "0".repeat(64))),
    ] {
        let response = post(site, body.clone()).await.expect("answered");
        assert_eq!(problem(response).await.0, "cross-site", "{site} {body}");
    }
    let run = browser(&house, Method::POST, "/api/v1/tokens", "same-origin")
        .header("cookie", &session)
        .header("content-type", "application/json")
        .body("{}");
    assert_eq!(problem(run.send().await.expect("answered")).await.0, "cross-site");
    let run = browser(&house, Method::POST, "/api/v1/tokens", "same-origin")
        .header("cookie", &session)
        .header("x-windlass-csrf", &token)
        .header("content-type", "application/json")
        .body(r#"{"name":"from a page","role":"viewer"}"#);
    assert_eq!(run.send().await.expect("answered").status(), 201);

    let out = post("same-origin", format!("csrf={token}")).await.expect("answered");
    assert_eq!(out.headers()["location"], "/sign-in");
    let me = house.http.get(format!("{}/api/v1/me", house.url)).header("cookie", &session);
    assert_eq!(problem(me.send().await.expect("answered")).await.0, "not-signed-in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_from_another_site_is_refused_and_spends_nothing() {
    let house = House::new().await;
    let link = house.handle().sign_in_link(false).await.expect("made").expect("a link");
    let secret = link.split("link=").nth(1).expect("a link");
    let request = browser(&house, Method::POST, "/sign-in", "cross-site");
    let response = request.body(format!("link={secret}")).send().await.expect("answered");
    assert_eq!(problem(response).await.0, "cross-site");
    assert_eq!(sign_in(&house, &link, "/").await.status(), 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gives_more_than_they_have_and_a_revoked_token_is_dead() {
    let house = House::new().await;
    let operator = house.token(Role::Operator).await;
    let ask = |token: String, role: &'static str| {
        let request = house.request_as(&token, Method::POST, "/api/v1/tokens");
        request.json(&json!({ "name": "x", "role": role })).send()
    };
    for role in ["admin", "reviewer", "runner"] {
        let response = ask(operator.clone(), role).await.expect("answered");
        assert_eq!(problem(response).await.0, "forbidden", "{role}");
    }
    let created: serde_json::Value =
        ask(house.admin.clone(), "runner").await.expect("answered").json().await.expect("JSON");
    let secret = created["secret"].as_str().expect("a secret");
    assert!(secret.starts_with("wl_"), "{secret}");
    let listed = house.get("/api/v1/tokens").await;
    assert!(!listed.to_string().contains(secret));

    let path = format!("/api/v1/tokens/{}", created["token"]["id"].as_str().expect("an id"));
    let theirs = house.request_as(&operator, Method::DELETE, &path).send().await.expect("answered");
    assert_eq!(problem(theirs).await.0, "not-found");
    let revoked = house.request(Method::DELETE, &path).send().await.expect("answered");
    assert_eq!(revoked.status(), 204);
    let dead = house.request_as(secret, Method::GET, "/api/v1/me").send().await.expect("answered");
    assert_eq!(problem(dead).await.0, "not-signed-in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invited_user_signs_in_with_the_role_that_was_given() {
    let house = House::new().await;
    let new = json!({ "name": "Ann <script>", "role": "reviewer" });
    let invited = house.post("/api/v1/users", new).await;
    let link = invited["sign_in_link"].as_str().expect("a link");
    let session = cookie(&sign_in(&house, link, "/").await);
    let me = house.http.get(format!("{}/api/v1/me", house.url)).header("cookie", &session);
    let me = expect(reqwest::StatusCode::OK, me).await;
    assert_eq!((&me["name"], &me["role"]), (&json!("Ann <script>"), &json!("reviewer")));
    let (code, _) =
        house.refused("/api/v1/users", json!({ "name": "Ann <script>", "role": "viewer" })).await;
    assert_eq!(code, "name-taken");
    let (code, problem) =
        house.refused("/api/v1/users", json!({ "name": "bot", "role": "runner" })).await;
    assert_eq!((code.as_str(), &problem["place"]), ("bad-request", &json!("role")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_key_is_done_once() {
    let house = House::new().await;
    super::house::repository(&house.folder.path().join("a"));
    let send = |key: &'static str, name: &'static str| {
        let source = json!({ "kind": "path", "path": house.folder.path().join("a") });
        let request =
            house.request(Method::POST, "/api/v1/projects").header("idempotency-key", key);
        request.json(&json!({ "name": name, "source": source })).send()
    };
    let (first, second) = tokio::join!(send("one", "a"), send("one", "a"));
    let first = first.expect("answered").text().await.expect("text");
    let second = second.expect("answered").text().await.expect("text");
    assert_eq!(first, second);
    let mismatch = send("one", "b").await.expect("answered");
    assert_eq!(problem(mismatch).await.0, "idempotency-mismatch");
    let listed = house.get("/api/v1/projects").await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_with_a_secret_is_given_once_and_kept_by_nobody() {
    let house = House::new().await;
    let send = || {
        let request =
            house.request(Method::POST, "/api/v1/tokens").header("idempotency-key", "one");
        request.json(&json!({ "name": "a", "role": "viewer" })).send()
    };
    let (first, second) = tokio::join!(send(), send());
    let (mut made, mut told) = (Vec::new(), Vec::new());
    for answer in [first, second, send().await] {
        let answer = answer.expect("answered");
        match answer.status().as_u16() {
            201 => made.push(answer.json::<serde_json::Value>().await.expect("JSON")),
            _ => told.push(problem(answer).await),
        }
    }
    let secret = made[0]["secret"].as_str().expect("a secret");
    assert_eq!(told.iter().map(|(code, _)| code.as_str()).collect::<Vec<_>>(), ["conflict"; 2]);
    assert!(told.iter().all(|(_, problem)| !problem.to_string().contains(secret)), "{told:?}");
    let database = std::fs::read(house.folder.path().join("windlass.db")).expect("the database");
    let log = std::fs::read(house.folder.path().join("windlass.db-wal")).unwrap_or_default();
    for bytes in [database, log] {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "the database has the token in clear");
    }
    let listed = house.get("/api/v1/tokens").await;
    let named = |item: &&serde_json::Value| item["name"] == "a";
    assert_eq!(listed["items"].as_array().expect("items").iter().filter(named).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_task_with_the_same_key_is_one_run() {
    let house = House::new().await;
    house.project("shop").await;
    let send = || {
        let request = house.request(Method::POST, "/api/v1/runs").header("idempotency-key", "k");
        request.json(&json!({ "project": "shop", "task": "Do it" })).send()
    };
    let first = send().await.expect("answered").text().await.expect("text");
    let again = send().await.expect("answered");
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.text().await.expect("text"), first);
    let runs = house.get("/api/v1/runs").await;
    assert_eq!(runs["items"].as_array().map(Vec::len), Some(1));
}
