//! One task, seen from the command line.

use std::path::Path;

use serde_json::{Value, json};

use crate::world::{World, git};

/// The built-in agent's tools, called one after the other.
fn turns(tools: &[(&str, Value)]) -> Vec<Value> {
    let turn = |(name, input): &(&str, Value)| {
        json!({ "reply": {
            "tools": [{ "name": name, "input": input }],
            "usage": { "input": 100, "output": 10 },
        }})
    };
    tools.iter().map(turn).collect()
}

fn said_hello(world: &World) -> String {
    let tools = [
        ("edit", json!({ "path": "greeting.txt", "old": "good day", "new": "hello" })),
        ("finish", json!({ "summary": "It says hello now." })),
    ];
    world.session("hello", &turns(&tools)).to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_task_without_a_server_becomes_a_pull_request_and_waits_for_review() {
    let world = World::new();
    let sessions = said_hello(&world);
    let repository = world.repository("api", &[("greeting.txt", "good day\n")]);
    let repository = repository.to_str().expect("UTF-8");
    let job = world.json(&[
        "--json",
        "run",
        "Say hello",
        "--repo",
        repository,
        "--replay",
        "hello",
        "--replays",
        &sessions,
        "--verify",
        "grep -q hello greeting.txt",
    ]);
    assert_eq!(job["end"]["outcome"], "succeeded", "{job}");
    assert_eq!(job["pull_request"]["number"], 1, "{job}");
    assert_eq!(job["tokens"], 220, "{job}");

    let mut up = world.up(&["--no-runner"]);
    let list = world.json(&["--json", "review", "list"]);
    assert_eq!(list["items"][0]["state"], "open", "{list}");
    world.run(&["review", "diff", "api#1"]).says(0, &["-good day", "+hello"]);
    world.run(&["review", "approve", "api#1"]).says(0, &["approved"]);
    world.run(&["review", "merge", "api#1", "--method", "squash"]).says(0, &["merged"]);
    let pull = world.json(&["--json", "review", "show", "api#1"]);
    assert_eq!(pull["state"], "merged", "{pull}");
    up.stop();
    // The user's own work tree and branch are as they were; the change is there as a branch.
    assert_eq!(git(Path::new(repository), &["status", "--porcelain"]), "");
    assert_eq!(git(Path::new(repository), &["show", "main:greeting.txt"]), "good day");
    let branches = git(Path::new(repository), &["branch", "--list", "--format=%(refname:short)"]);
    assert!(branches.lines().any(|branch| branch.starts_with("windlass/")), "{branches}");
}

#[test]
fn a_comment_goes_back_to_the_agent_and_the_same_pull_request_gets_a_second_round() {
    let world = World::new();
    let sessions = said_hello(&world);
    let again = [
        ("edit", json!({ "path": "greeting.txt", "old": "hello", "new": "hello, world" })),
        ("finish", json!({ "summary": "It greets the world." })),
    ];
    world.session("again", &turns(&again));
    let repository = world.repository("api", &[("greeting.txt", "good day\n")]);
    let _up = world.up(&["--replays", &sessions]);
    let repository = repository.to_str().expect("UTF-8");
    let job =
        world.json(&["--json", "run", "Say hello", "--repo", repository, "--replay", "hello"]);
    assert_eq!(job["end"]["outcome"], "succeeded", "{job}");
    let started = world.json(&[
        "--json",
        "review",
        "comment",
        "api#1",
        "Greet the world.",
        "--at",
        "greeting.txt:1",
        "--send",
    ]);
    let job_id = started["job_id"].as_str().expect("a job").to_owned();
    let ended = world.json(&["--json", "job", "show", &job_id, "--follow"]);
    // The follow-up replays the same session by name, which does not fit its new task: the round
    // ends with an honest reason and the pull request keeps its first round.
    assert!(ended["end"]["reason"].is_string(), "{ended}");
    let pull = world.json(&["--json", "review", "show", "api#1"]);
    assert_eq!(pull["state"], "open", "{pull}");
    assert_eq!(pull["comments"][0]["sent_to"], job_id, "{pull}");
}

#[test]
fn what_the_job_did_can_be_read_again_afterwards() {
    let world = World::new();
    let sessions = said_hello(&world);
    let repository = world.repository("api", &[("greeting.txt", "good day\n")]);
    let _up = world.up(&["--replays", &sessions]);
    let repository = repository.to_str().expect("UTF-8");
    let job =
        world.json(&["--json", "run", "Say hello", "--repo", repository, "--replay", "hello"]);
    let id = job["id"].as_str().expect("an id");
    world.run(&["job", "show", id]).says(0, &["Say hello", "succeeded"]);
    world.run(&["job", "diff", id]).says(0, &["+hello"]);
    world
        .run(&["job", "session", id])
        .says(0, &["scripted model session, written by us, no model was called"]);
    world.run(&["job", "events", id]).says(0, &["created", "leased", "ended"]);
    world.run(&["runs"]).says(0, &["Say hello", "succeeded"]);
}
