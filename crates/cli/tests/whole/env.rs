//! Environments that live by themselves, from the command line: made, used, stopped with their work kept,
//! started again as they were, deleted and had back.

use crate::world::{World, git};

const DEVCONTAINER: &str = r#"{ "postStartCommand": "echo started; echo once >> ~/starts" }"#;

fn world() -> (World, crate::world::Up) {
    let world = World::new();
    let files = [("greeting.txt", "good day\n"), (".devcontainer/devcontainer.json", DEVCONTAINER)];
    let repository = world.repository("api", &files);
    let up = world.up(&[]);
    let added = world.run(&["project", "add", repository.to_str().expect("UTF-8")]);
    assert_eq!(added.code, Some(0), "{added}");
    (world, up)
}

#[test]
fn one_is_made_used_stopped_and_started_again_with_its_work() {
    let (world, _up) = world();
    let made = world.json(&["--json", "env", "create", "api", "--name", "one"]);
    assert_eq!((&made["phase"], &made["ref"]), (&"running".into(), &"main".into()), "{made}");
    let stages = made["start"].as_array().expect("stages");
    let stages: Vec<&str> = stages.iter().filter_map(|stage| stage["name"].as_str()).collect();
    assert_eq!(stages, ["repository", "work tree", "isolation", "preparation"]);
    world.run(&["env", "logs", "one"]).says(0, &["postStartCommand", "started"]);
    world.run(&["env", "create", "api", "--name", "one"]).says(1, &["name-taken"]);

    let exec = |argv: &[&str]| world.run(&[&["env", "exec", "one", "--"], argv].concat());
    exec(&["cat", "greeting.txt"]).says(0, &["good day"]);
    exec(&["sh", "-c", "echo out; echo err >&2; exit 7"]).says(7, &["out", "err"]);
    exec(&["printf", "%s|", "a b", "$HOME", ""]).says(0, &["a b|$HOME||"]);
    exec(&["no-such-program"]).says(126, &["no-such-program"]);

    std::fs::write(world.path("in.txt"), "hello\n").expect("written");
    let file = world.path("in.txt");
    let file = file.to_str().expect("UTF-8");
    world.run(&["env", "cp", file, "one:greeting.txt"]).says(0, &[]);
    let back = world.path("out.txt");
    world.run(&["env", "cp", "one:greeting.txt", back.to_str().expect("UTF-8")]).says(0, &[]);
    assert_eq!(std::fs::read_to_string(&back).expect("copied"), "hello\n");

    let stopped = world.json(&["--json", "env", "stop", "one"]);
    assert_eq!((&stopped["phase"], &stopped["unpushed"]["files"]), (&"stopped".into(), &1.into()));
    exec(&["true"]).says(1, &["environment-state", "stopped"]);
    let bundle = world.path("work.bundle");
    let bundle = bundle.to_str().expect("UTF-8");
    world.run(&["env", "work", "one", "--output", bundle]).says(0, &["work.bundle"]);
    let api = world.path("api");
    let head = git(&api, &["bundle", "list-heads", bundle]);
    let (commit, name) = head.split_once(' ').expect("a head");
    assert_eq!(Some(commit), stopped["unpushed"]["commit"].as_str());
    git(&api, &["fetch", "--quiet", bundle, &format!("{name}:refs/heads/work")]);
    assert_eq!(git(&api, &["show", "work:greeting.txt"]), "hello");

    let again = world.json(&["--json", "env", "start", "one"]);
    assert_eq!(again["phase"], "running", "{again}");
    exec(&["cat", "greeting.txt"]).says(0, &["hello"]);
}

#[test]
fn an_operation_with_a_name_is_executed_once() {
    let (world, _up) = world();
    world.run(&["env", "create", "api", "--name", "one"]).says(0, &["running"]);
    let script = "echo ran >> ~/runs; echo told; exit 3";
    let named = ["env", "exec", "--operation", "first", "one", "--", "sh", "-c", script];
    world.run(&named).says(3, &["told"]);
    world.run(&named).says(3, &["told"]);
    let runs = world.run(&["env", "exec", "one", "--", "sh", "-c", "cat ~/runs"]);
    assert_eq!(runs.out, "ran\n", "{runs}");
}

#[test]
fn one_that_was_deleted_can_be_had_back() {
    let (world, _up) = world();
    world.run(&["env", "create", "api", "--name", "one"]).says(0, &["running"]);
    world.run(&["env", "delete", "one"]).says(0, &["deleting", "env undelete one"]);
    world.run(&["env", "start", "one"]).says(1, &["undelete it first"]);
    world.run(&["env", "undelete", "one"]).says(0, &["stopped"]);
    world.run(&["env", "start", "one"]).says(0, &["running"]);
    world.run(&["env", "archive", "one"]).says(0, &["archived"]);
    let listed = world.json(&["--json", "env", "list"]);
    assert_eq!(listed["items"], serde_json::json!([]));
    let listed = world.json(&["--json", "env", "list", "--all"]);
    assert_eq!(listed["items"][0]["name"], "one");
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let (world, _up) = world();
    world.run(&["env", "create", "nothing"]).says(1, &["there is no project nothing"]);
    world.run(&["env", "create", "api", "--ref", "nowhere"]).says(1, &["missing-branch"]);
    world.run(&["env", "create", "api", "--name", "Not So"]).says(1, &["a name begins with"]);
    world.run(&["env", "show", "ghost"]).says(1, &["there is no environment ghost"]);
    world.run(&["env", "create", "api", "--life", "99999999"]).says(1, &["at most 180 days"]);
}

#[test]
fn a_fork_goes_its_own_way_from_where_the_other_one_stands() {
    let (world, _up) = world();
    world.run(&["project", "set", "api", "--idle", "45m"]).says(0, &["stopped after: 45m"]);
    world.run(&["env", "create", "api", "--name", "one"]).says(0, &["running", "after 45 min"]);
    let sh = |env: &str, script: &str| world.run(&["env", "exec", env, "--", "sh", "-c", script]);
    sh("one", "echo changed > greeting.txt").says(0, &[]);
    world.run(&["env", "fork", "one", "--name", "two"]).says(0, &["running", "after 45 min"]);
    sh("two", "cat greeting.txt; echo other > greeting.txt").says(0, &["changed"]);
    sh("one", "cat greeting.txt").says(0, &["changed"]);
    world
        .run(&["env", "why-slow", "two"])
        .says(0, &["work tree", "preparation", "windlass env logs"]);
    world.run(&["env", "fork", "nothing"]).says(1, &["there is no environment nothing"]);
    world.run(&["env", "delete", "one"]).says(0, &["deleting"]);
    world.run(&["env", "fork", "one"]).says(1, &["being deleted"]);
}

#[test]
fn one_whose_definition_fails_is_entered_and_repaired() {
    let world = World::new();
    let broken = r#"{ "postCreateCommand": "echo no such package; exit 3" }"#;
    let repository = world.repository("api", &[(".devcontainer.json", broken)]);
    let turn = |name: &str, input: serde_json::Value| {
        serde_json::json!({ "reply": {
            "tools": [{ "name": name, "input": input }],
            "usage": { "input": 100, "output": 10 },
        }})
    };
    let edit = serde_json::json!({
        "path": ".devcontainer.json", "old": "echo no such package; exit 3", "new": "echo fine",
    });
    let finish = serde_json::json!({ "summary": "It starts now." });
    let sessions = world.session("repair", &[turn("edit", edit), turn("finish", finish)]);
    let _up = world.up(&["--replays", sessions.to_str().expect("UTF-8")]);
    world.run(&["project", "add", repository.to_str().expect("UTF-8")]).says(0, &[]);
    let made = world.run(&["env", "create", "api", "--name", "one"]);
    made.says(0, &["recovery", "exited with 3", "windlass env repair one"]);
    let log = world.run(&["env", "exec", "one", "--", "sh", "-c", "cat ~/start.log"]);
    log.says(0, &["no such package"]);
    world.run(&["env", "list"]).says(0, &["recovery"]);

    // A job on the same ground ends, and can be repaired as well.
    let prebuild = world.run(&["--json", "project", "prebuild", "api"]);
    let job = prebuild.json();
    assert_eq!(job["end"]["code"], "environment_failed", "{job}");
    let job_id = job["id"].as_str().expect("an id");
    world.run(&["env", "repair", job_id, "--replay", "repair", "--detach"]).says(0, &["job_"]);
    let repaired = world.run(&["--json", "env", "repair", "one", "--replay", "repair"]);
    let job = repaired.json();
    assert_eq!(job["end"]["outcome"], "succeeded", "{job}");
    assert!(job["pull_request"]["number"].is_u64(), "{job}");
    let id = job["id"].as_str().expect("an id");
    world.run(&["env", "why-slow", id]).says(0, &["repository", "set-up", "ms"]);
    world.run(&["env", "repair", id]).says(1, &["not for its environment"]);
}
