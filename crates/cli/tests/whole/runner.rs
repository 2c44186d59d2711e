//! Runners as an operator has them: one joins by a code over TLS, takes what needs its label, starts
//! anew as the same one, and is removed.

use std::{
    fs,
    io::Write as _,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::world::World;

/// A runner's process, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = Command::new("kill").args(["-s", "TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// Joins on another machine's data folder, with a code on standard input.
fn join(world: &World, invitation: &Value, code: &str, more: &[&str]) -> Running {
    let text = |name: &str| invitation[name].as_str().expect("it is there").to_owned();
    let (url, pin) = (text("server"), text("certificate"));
    let all = [&["runner", "join", &url, "--certificate", &pin][..], more].concat();
    let log = fs::File::options().create(true).append(true).open(world.path("runner.log"));
    let mut child = world
        .windlass(&all)
        .env("WINDLASS_DATA_DIR", world.path("elsewhere"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log.expect("the log can be made"))
        .spawn()
        .expect("windlass can be started");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(format!("{code}\n").as_bytes()).expect("it reads");
    Running(child)
}

fn runner(world: &World) -> Option<Value> {
    let list = world.json(&["--json", "runner", "list"]);
    list["items"].as_array().expect("items").first().cloned()
}

/// Looks until it is so: what is waited for is another process.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3_000 {
        if let Some(seen) = look() {
            return seen;
        }
    }
    panic!("{what} was not seen")
}

#[test]
fn a_runner_joins_takes_what_needs_its_label_starts_anew_and_is_removed() {
    let world = World::new();
    let turns = json!({ "reply": { "tools": [{
        "name": "edit", "input": { "path": "a.txt", "old": "a", "new": "b" },
    }, { "name": "finish", "input": { "summary": "Done." } }] } });
    let sessions = world.session("edit", &[turns]).to_str().expect("UTF-8").to_owned();
    let repository = world.repository("api", &[("a.txt", "a\n")]);
    let repository = repository.to_str().expect("UTF-8");
    let _up = world.up(&["--no-runner", "--tls"]);

    let invitation = world.json(&["--json", "runner", "invite", "--minutes", "10"]);
    let code = invitation["code"].as_str().expect("a code").to_owned();
    let mut wrong = join(&world, &invitation, "wlj_wrong", &["--only"]);
    assert_eq!(wrong.0.wait().expect("it ends").code(), Some(7));
    let said = fs::read_to_string(world.path("runner.log")).expect("the log");
    assert!(said.contains("windlass runner invite"), "{said}");

    let labels = ["--label", "moon", "--name", "kettle", "--replays", &sessions];
    let mut kettle = join(&world, &invitation, &code, &labels);
    let here = until("the runner", || runner(&world).filter(|it| it["health"].is_object()));
    assert_eq!((&here["name"], &here["alive"]), (&json!("kettle"), &json!(true)), "{here}");
    assert!(here["labels"].as_array().expect("labels").contains(&json!("moon")), "{here}");
    world.run(&["runner", "show", "kettle"]).says(0, &["kettle", "moon", "here", "disk"]);

    // What needs another label waits; what needs this one is done.
    let task = |label: &'static str| {
        ["run", "Edit", "--repo", repository, "--replay", "edit", "--detach", "--runs-on", label]
            .map(str::to_owned)
    };
    for label in ["mars", "moon"] {
        let task = task(label);
        let words: Vec<&str> = task.iter().map(String::as_str).collect();
        world.run(&words).says(0, &[]);
    }
    let jobs = until("the end of one job", || {
        let jobs = world.json(&["--json", "runs"]);
        let items = jobs["items"].as_array().expect("items").clone();
        items.iter().any(|run| run["state"] == "succeeded").then_some(items)
    });
    let states: Vec<&Value> = jobs.iter().map(|run| &run["state"]).collect();
    assert_eq!(states, [&json!("succeeded"), &json!("queued")]);

    // The same process and the same runner, begun anew.
    let pid = kettle.0.id();
    world.run(&["runner", "restart", "kettle", "--wait"]).says(0, &["kettle here"]);
    assert!(kettle.0.try_wait().expect("it can be asked").is_none(), "it ended");
    let again = runner(&world).expect("it is there");
    assert_eq!((&again["id"], kettle.0.id()), (&here["id"], pid), "{again}");
    let said = fs::read_to_string(world.path("runner.log")).expect("the log");
    assert_eq!(said.matches("joined https://").count(), 1, "{said}");
    assert!(!said.contains(&code), "the code is in the log");

    world.run(&["runner", "drain", "kettle", "--wait"]).says(0, &["kettle drained"]);
    world.run(&["runner", "resume", "kettle"]).says(0, &["kettle here"]);
    world.run(&["runner", "remove", "kettle"]).says(0, &["removed"]);
    assert_eq!(kettle.0.wait().expect("it ends").code(), Some(7));
    assert_eq!(runner(&world), None);
    // The code is used up, for whoever finds it.
    let mut late = join(&world, &invitation, &code, &["--only", "--state-dir", "late"]);
    assert_eq!(late.0.wait().expect("it ends").code(), Some(7));
}

#[test]
fn a_runner_that_joined_nothing_says_what_to_type() {
    let world = World::new();
    world.run(&["runner"]).says(6, &["windlass runner invite"]);
    world
        .run(&["runner", "--label", "No Label", "--server", "http://127.0.0.1:1"])
        .says(6, &["joined no server"]);
}
