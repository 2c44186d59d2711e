//! Events and hooks: what comes in is kept once, found, said again; what is not signed is refused.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::house::{House, commit, problem};

/// A delivery on its way.
struct Delivery<'a> {
    hook: &'a str,
    id: &'a str,
    seconds: i64,
    body: &'a str,
}

impl<'a> Delivery<'a> {
    fn now(hook: &'a str, id: &'a str, body: &'a str) -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seconds = i64::try_from(since.expect("after 1970").as_secs()).expect("a time");
        Self { hook, id, seconds, body }
    }

    /// A request as Standard Webhooks has it, signed with each of these secrets.
    fn signed(&self, house: &House, secrets: &[&str]) -> reqwest::RequestBuilder {
        let signatures: Vec<String> = secrets
            .iter()
            .map(|secret| {
                let key = STANDARD.decode(secret.trim_start_matches("whsec_")).expect("a key");
                let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).expect("a key");
                mac.update(format!("{}.{}.{}", self.id, self.seconds, self.body).as_bytes());
                format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
            })
            .collect();
        house
            .http
            .request(Method::POST, format!("{}/hooks/in/{}", house.url, self.hook))
            .header("webhook-id", self.id)
            .header("webhook-timestamp", self.seconds.to_string())
            .header("webhook-signature", signatures.join(" "))
            .header("content-type", "application/json")
            .body(self.body.to_owned())
    }
}

async fn answered(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("answered");
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

async fn hook(house: &House, name: &str, scheme: &str) -> String {
    let made = house.post("/api/v1/hooks", json!({ "name": name, "scheme": scheme })).await;
    assert_eq!(made["url"], format!("{}/hooks/in/{name}", house.url));
    made["secret"].as_str().expect("a secret").to_owned()
}

async fn list(house: &House, query: &str) -> Vec<Value> {
    let page = house.get(&format!("/api/v1/events{query}")).await;
    page["items"].as_array().expect("items").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_delivery_is_kept_once_found_and_said_again() {
    let mut house = House::new().await;
    house.project("billing").await;
    let new = json!({ "name": "pager", "scheme": "standard", "project": "billing" });
    let made = house.post("/api/v1/hooks", new).await;
    let secret = made["secret"].as_str().expect("a secret").to_owned();
    let body = r#"{"level":"critical","service":"checkout"}"#;
    let delivery = Delivery::now("pager", "msg_1", body);
    let (status, first) = answered(delivery.signed(&house, &[&secret])).await;
    assert_eq!((status, &first["fresh"]), (202, &json!(true)));
    let (status, again) = answered(delivery.signed(&house, &[&secret])).await;
    assert_eq!((status, &again["fresh"], &again["event"]), (202, &json!(false), &first["event"]));
    house.restart().await;
    let (status, again) = answered(delivery.signed(&house, &[&secret])).await;
    assert_eq!((status, &again["event"]), (202, &first["event"]), "also after a restart");
    for query in [
        "?source=webhook/pager",
        "?type=webhook",
        "?project=billing",
        "?text=checkout%20crit",
        "?trust=member",
        "?since=1",
        "",
    ] {
        let found = list(&house, query).await;
        assert_eq!(found.len(), 1, "{query}");
        assert_eq!(found[0]["id"], first["event"], "{query}");
    }
    for query in ["?source=webhook/other", "?text=gone", "?since=99999999999999999", "?trust=own"] {
        assert_eq!(list(&house, query).await, Vec::<Value>::new(), "{query}");
    }
    let event = first["event"].as_str().expect("an id");
    let shown = house.get(&format!("/api/v1/events/{event}")).await;
    assert_eq!(shown["data"], json!({ "level": "critical", "service": "checkout" }));
    assert_eq!((&shown["delivery"], &shown["project"]), (&json!("msg_1"), &json!("billing")));
    assert_eq!(shown["time"], delivery.seconds * 1_000_000);
    let replay = house.post(&format!("/api/v1/events/{event}/replay"), json!({})).await;
    assert_eq!((&replay["repeats"], &replay["data"]), (&json!(event), &shown["data"]));
    assert_ne!(replay["id"], event);
    assert_eq!(list(&house, "").await.len(), 2);
    let viewer = house.token(windlass_wire::api::account::Role::Viewer).await;
    let path = format!("/api/v1/events/{event}/replay");
    let refused = house.request_as(&viewer, Method::POST, &path).send().await.expect("answered");
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_signed_is_refused_as_if_there_were_no_hook() {
    let house = House::new().await;
    let secret = hook(&house, "pager", "standard").await;
    let other = hook(&house, "other", "standard").await;
    let delivery = |hook, id| Delivery::now(hook, id, "{}");
    let of_nothing = answered(delivery("nothing", "m").signed(&house, &[&secret])).await;
    assert_eq!(of_nothing.0, 401);
    let long_name = "x".repeat(5_000);
    let unsigned = house.http.post(format!("{}/hooks/in/pager", house.url)).body("{}");
    for request in [
        delivery("pager", "m").signed(&house, &[&other]),
        delivery("pager", "m").signed(&house, &[]),
        unsigned,
        delivery("pa%00ger", "m").signed(&house, &[&secret]),
        delivery("..", "m").signed(&house, &[&secret]),
        delivery(&long_name, "m").signed(&house, &[&secret]),
    ] {
        let (status, body) = answered(request).await;
        if status == 404 {
            continue; // `..` is another address altogether.
        }
        assert_eq!((status, &body["detail"]), (401, &of_nothing.1["detail"]));
    }
    let stale = Delivery { seconds: delivery("", "").seconds - 301, ..delivery("pager", "m") };
    let garbage = Delivery::now("pager", "m", "{\"a\":");
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let large = Delivery::now("pager", "m", &large);
    let deep = "[".repeat(100_000);
    let deep = Delivery::now("pager", "m", &deep);
    let form = delivery("pager", "m").signed(&house, &[&secret]).build().expect("a request");
    let form = {
        let (mut form, kind) = (form, "application/x-www-form-urlencoded".parse());
        form.headers_mut().insert("content-type", kind.expect("a header"));
        reqwest::RequestBuilder::from_parts(house.http.clone(), form)
    };
    let long_id = "i".repeat(300);
    for (request, status, says) in [
        (stale.signed(&house, &[&secret]), 400, "five minutes"),
        (garbage.signed(&house, &[&secret]), 400, "line 1 column 5"),
        (deep.signed(&house, &[&secret]), 400, "recursion limit"),
        (large.signed(&house, &[&secret]), 413, "longer"),
        (delivery("pager", &long_id).signed(&house, &[&secret]), 400, "256"),
        (form, 400, "content type"),
    ] {
        let (got, body) = answered(request).await;
        let detail = body["detail"].as_str().unwrap_or_default();
        assert_eq!((got, detail.contains(says)), (status, true), "{says}: {body}");
    }
    assert_eq!(list(&house, "").await, Vec::<Value>::new(), "nothing of it was kept");
    let health = house.get("/api/v1/hooks/pager").await;
    assert!(health["refused"]["count"].as_u64() >= Some(8), "{health}");
    assert!(health["refused"]["reason"].as_str().is_some_and(|it| it.contains("content type")));
    assert_eq!(health["received_at"], Value::Null);
    let (status, _) = answered(delivery("pager", "m").signed(&house, &[&secret])).await;
    assert_eq!(status, 202);
    let health = house.get("/api/v1/hooks/pager").await;
    assert_eq!(health["refused"], Value::Null, "well again");
    assert!(health["received_at"].as_i64() > Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_changed_without_losing_a_delivery() {
    let house = House::new().await;
    let old = hook(&house, "pager", "standard").await;
    let status = |id: &'static str, secrets: Vec<String>| {
        let request = Delivery::now("pager", id, "{}");
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let request = request.signed(&house, &secrets);
        async { answered(request).await.0 }
    };
    assert_eq!(status("1", vec![old.clone()]).await, 202);
    let rotated = house.post("/api/v1/hooks/pager/rotate", json!({})).await;
    let new = rotated["secret"].as_str().expect("a secret").to_owned();
    assert!(rotated["before_until"].as_i64() > rotated["changed_at"].as_i64());
    assert_eq!(status("2", vec![old.clone()]).await, 202);
    assert_eq!(status("3", vec![new.clone()]).await, 202);
    assert_eq!(status("4", vec![old.clone(), new.clone()]).await, 202);
    let shown = house.get("/api/v1/hooks/pager").await;
    assert_eq!(shown["secret"], Value::Null, "a secret is shown once");
    house.post("/api/v1/hooks/pager/finish", json!({})).await;
    assert_eq!(status("5", vec![old.clone()]).await, 401);
    assert_eq!(status("6", vec![new.clone()]).await, 202);
    let at_once = json!({ "keep_seconds": 0 });
    house.post("/api/v1/hooks/pager/rotate", at_once).await;
    assert_eq!(status("7", vec![new]).await, 401);
    let gone = house.request(Method::DELETE, "/api/v1/hooks/pager").send().await.expect("answered");
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(status("8", vec![old]).await, 401);
    assert_eq!(list(&house, "?source=webhook/pager").await.len(), 5, "what it received stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_schemes_and_senders_with_their_own_secret_are_taken_too() {
    let house = House::new().await;
    let new = json!({ "name": "ci", "scheme": "github", "secret": "a secret of the sender".replace(' ', "-"),
        "trust": "public" });
    house.post("/api/v1/hooks", new).await;
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"a-secret-of-the-sender").expect("a key");
    mac.update(b"{\"n\":1}");
    let digest: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let post = |id: Option<&str>| {
        let request = house.http.post(format!("{}/hooks/in/ci", house.url));
        let request = request.header("x-hub-signature-256", format!("sha256={digest}"));
        match id {
            Some(id) => request.header("x-github-delivery", id).body("{\"n\":1}"),
            None => request.body("{\"n\":1}"),
        }
    };
    assert_eq!(answered(post(Some("d1"))).await.0, 202);
    assert_eq!(answered(post(Some("d1"))).await.1["fresh"], json!(false));
    assert_eq!(answered(post(None)).await.1["fresh"], json!(true));
    let found = list(&house, "?source=webhook/ci").await;
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["trust"], "public");
    assert!(found[0]["delivery"].as_str().is_some_and(|it| it.starts_with("digest:")));
    let secret = hook(&house, "simple", "bearer").await;
    let post = |secret: &str| {
        house.http.post(format!("{}/hooks/in/simple", house.url)).bearer_auth(secret).body("[1]")
    };
    assert_eq!(answered(post(&secret)).await.0, 202);
    assert_eq!(answered(post("wlh_wrong")).await.0, 401);
    for (new, at) in [
        (json!({ "name": "Pager", "scheme": "bearer" }), "name"),
        (json!({ "name": "x", "scheme": "none" }), "scheme"),
        (json!({ "name": "x", "scheme": "standard", "secret": "short" }), "secret"),
        (json!({ "name": "x", "scheme": "bearer", "secret": "short" }), "secret"),
        (json!({ "name": "x", "scheme": "bearer", "trust": "own" }), "trust"),
        (json!({ "name": "ci", "scheme": "bearer" }), "name"),
    ] {
        let (_, problem) = house.refused("/api/v1/hooks", new.clone()).await;
        assert!(problem.to_string().contains(at), "{new}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_asked_of_events_is_said() {
    let house = House::new().await;
    for query in [
        "cursor=x",
        "limit=0",
        "limit=201",
        "trust=mine",
        "since=x",
        "handled=2",
        "colour=red",
        "project=nothing",
    ] {
        let answer = house.request(Method::GET, &format!("/api/v1/events?{query}"));
        let (code, _) = problem(answer.send().await.expect("answered")).await;
        assert!(matches!(code.as_str(), "bad-request" | "not-found"), "{query}: {code}");
    }
    for (query, n) in [("subject=a%00b", 0), ("text=%00", 0), ("text=%22%27", 0)] {
        assert_eq!(list(&house, &format!("?{query}")).await.len(), n, "{query}");
    }
    for id in ["evt_01kb2m9d5xq8s0v3c7w1r4t6ya", "evt_x", "%00"] {
        let answer = house.request(Method::GET, &format!("/api/v1/events/{id}"));
        let (code, _) = problem(answer.send().await.expect("answered")).await;
        assert_eq!(code, "not-found", "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_to_the_source_of_a_local_project_is_told_and_handled() {
    let house = House::new().await;
    let source = house.project("billing").await;
    assert_eq!(list(&house, "").await, Vec::<Value>::new(), "nobody pushed what was there");
    std::fs::write(source.join("fresh.txt"), "1\n").expect("written");
    let after = commit(&source, "Something new");
    house.task("billing", "Look at it").await;
    let pushes = list(&house, "?type=push").await;
    assert_eq!(pushes.len(), 1);
    assert_eq!(pushes[0]["source"], "local/billing");
    assert_eq!(pushes[0]["subject"], "refs/heads/main");
    assert_eq!(pushes[0]["trust"], "member");
    let push =
        house.get(&format!("/api/v1/events/{}", pushes[0]["id"].as_str().expect("id"))).await;
    assert_eq!(push["data"]["push"]["after"], after.trim());
    assert_eq!(push["data"]["push"]["paths"], json!(["fresh.txt"]));
    assert_eq!(push["data"]["push"]["default_branch"], true);
    // It is handled without anybody asking: the hint of its commit woke the reconciler.
    let handled = async {
        while list(&house, "?handled=true").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), handled).await.expect("handled");
}
