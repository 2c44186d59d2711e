//! Events on the command line.

use std::{fs, process::Stdio};

use crate::world::World;

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
    let piped: serde_json::Value = serde_json::from_slice(&piped.stdout).expect("JSON");
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
