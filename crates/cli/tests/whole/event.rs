//! Events on the command line.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Stdio,
    sync::{Arc, Mutex},
};

use serde_json::Value;

use crate::world::World;

/// How often the server is killed.
const KILLS: usize = 20;

/// How many senders there are.
const SENDERS: usize = 16;

const PAYLOAD: &str = r#"{
  "action": "created",
  "issue": { "number": 7, "pull_request": {} },
  "comment": { "id": 1, "author_association": "MEMBER", "body": "/windlass fix this" },
  "repository": { "full_name": "acme/api", "private": true },
  "sender": { "login": "ann", "id": 3, "type": "User" }
}"#;

#[test]
fn a_payload_of_a_webhook_is_read_as_the_server_would() {
    let world = World::new();
    fs::write(world.path("comment.json"), PAYLOAD).expect("written");
    let parse = ["event", "parse", "--forge", "github", "--event", "issue_comment"];
    let read = world.run(&[&parse[..], &["comment.json", "--json"]].concat()).json();
    assert_eq!(read["type"], "comment.created");
    assert_eq!(read["source"], "github/acme/api");
    assert_eq!(read["subject"], "pull_request/7");
    assert_eq!(read["trust"], "member");
    assert_eq!(read["actor"], serde_json::json!({ "name": "ann", "id": "3", "bot": false }));
    assert_eq!(read["data"]["comment"]["commands"][0]["rest"], "fix this");
    let shown = world.run(&[&parse[..], &["comment.json"]].concat());
    shown.says(0, &["comment.created", "pull_request/7", "ann", "member", "/windlass fix this"]);
    let mut piped = world
        .windlass(&[&parse[..], &["-", "--json"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    std::io::Write::write_all(&mut piped.stdin.take().expect("a pipe"), PAYLOAD.as_bytes())
        .expect("written");
    let piped = piped.wait_with_output().expect("it ends");
    let piped: Value = serde_json::from_slice(&piped.stdout).expect("JSON");
    assert_eq!((&piped["id"], &piped["data"]), (&read["id"], &read["data"]));
}

#[test]
fn a_payload_that_is_none_is_refused_with_the_place() {
    let world = World::new();
    let parse = ["event", "parse", "--forge", "github", "--event", "push", "payload.json"];
    world.run(&parse).says(1, &["failed to read payload.json"]);
    fs::write(world.path("payload.json"), "{\n  \"ref\": refs\n}").expect("written");
    world.run(&parse).says(1, &["payload.json", "not JSON", "line 2, column 10"]);
    fs::write(world.path("payload.json"), "payload=%7B%7D").expect("written");
    world.run(&parse).says(1, &["not JSON", "line 1, column 1"]);
}

#[test]
fn a_hook_receives_what_is_then_found_shown_and_said_again() {
    let world = World::new();
    let _up = world.up(&["--no-runner"]);
    let made = world.json(&["--json", "hook", "create", "pager", "--scheme", "bearer"]);
    let (url, secret) = (text(&made, "url"), text(&made, "secret"));
    world.run(&["hook", "create", "pager"]).says(1, &["name-taken"]);
    world.run(&["hook", "show", "Pager"]).says(1, &["windlass hook list"]);
    world.run(&["hook", "list"]).says(0, &["pager", "bearer", "never"]);
    let send = |secret: &str, id: &str| {
        runtime().block_on(async {
            let request = client().post(&url).bearer_auth(secret).header("webhook-id", id);
            let request = request.body(r#"{"alert":"checkout is down"}"#);
            request.send().await.expect("answered").status().as_u16()
        })
    };
    assert_eq!(send("wrong", "a1"), 401);
    world.run(&["hook", "show", "pager"]).says(0, &["nothing yet", "refused", "Bearer"]);
    assert_eq!(send(&secret, "a1"), 202);
    let list =
        ["event", "list", "--source", "webhook/pager", "--text", "checkout", "--since", "1h"];
    world.run(&list).says(0, &["webhook/pager", "member"]);
    let found = world.json(&[&["--json"][..], &list].concat());
    let id = text(&found["items"][0], "id");
    world.run(&["event", "show", &id]).says(0, &["a1", "checkout is down"]);
    let again = world.json(&["--json", "event", "replay", &id]);
    assert_eq!((text(&again, "repeats"), again["data"]["alert"].is_string()), (id.clone(), true));
    world.run(&["event", "show", "evt_x"]).says(1, &["windlass event list"]);
    world.run(&["event", "list", "--since", "soon"]).says(2, &["30m"]);
    fs::write(world.path("secret"), "a-secret-of-the-sender\n").expect("written");
    let rotate = ["hook", "rotate", "pager", "--secret-file", "secret", "--keep-hours", "1"];
    world.run(&rotate).says(0, &["earlier secret is taken for"]);
    assert_eq!((send(&secret, "a2"), send("a-secret-of-the-sender", "a3")), (202, 202));
    world.run(&["hook", "rotate", "pager", "--finish"]).says(0, &["pager"]);
    assert_eq!((send(&secret, "a4"), send("a-secret-of-the-sender", "a5")), (401, 202));
    world.run(&["hook", "remove", "pager"]).says(0, &[]);
    assert_eq!(send("a-secret-of-the-sender", "a6"), 401);
}

#[test]
fn what_was_accepted_is_there_exactly_once_however_often_the_server_is_killed() {
    let world = World::new();
    let mut up = world.up(&["--no-runner"]);
    let made = world.json(&["--json", "hook", "create", "load", "--scheme", "bearer"]);
    let secret = text(&made, "secret");
    let mut accepted: BTreeSet<String> = BTreeSet::new();
    for kill in 0..KILLS {
        let url = text(&world.json(&["--json", "hook", "show", "load"]), "url");
        // Each time at another place of its work.
        let enough = 40 + kill * 13;
        let answered = Arc::new(Mutex::new(BTreeSet::new()));
        let runtime = runtime();
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (answered, url, secret) = (answered.clone(), url.clone(), secret.clone());
                runtime.spawn(async move {
                    let client = client();
                    for n in 0.. {
                        let id = format!("{kill}-{sender}-{n}");
                        let request = client.post(&url).bearer_auth(&secret);
                        let request = request.header("webhook-id", &id).body("{\"n\":1}");
                        // The server is gone: what it had not answered may be there or not.
                        let Ok(answer) = request.send().await else { return };
                        assert_eq!(answer.status().as_u16(), 202);
                        answered.lock().expect("locked").insert(id);
                    }
                })
            })
            .collect();
        while answered.lock().expect("locked").len() < enough {
            std::thread::yield_now();
        }
        up.kill();
        for sender in senders {
            runtime.block_on(sender).expect("a sender ends with the server");
        }
        accepted.extend(answered.lock().expect("locked").iter().cloned());
        up = world.up(&["--no-runner"]);
    }
    let mut kept: BTreeMap<String, usize> = BTreeMap::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut list = vec!["--json", "event", "list", "--source", "webhook/load"];
        list.extend(["--limit", "200"]);
        if let Some(cursor) = &cursor {
            list.extend(["--cursor", cursor]);
        }
        let page = world.json(&list);
        for event in page["items"].as_array().expect("items") {
            *kept.entry(text(event, "delivery")).or_default() += 1;
        }
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    let doubled: Vec<_> = kept.iter().filter(|(_, n)| **n > 1).collect();
    let lost: Vec<_> = accepted.iter().filter(|id| !kept.contains_key(*id)).collect();
    assert_eq!((doubled, lost), (vec![], vec![]));
    assert!(accepted.len() >= KILLS * 40, "only {} were accepted", accepted.len());
    eprintln!("{} accepted, {} kept, {KILLS} kills", accepted.len(), kept.len());
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}")).to_owned()
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}
