//! A repository's own definition of its environment, seen from the command line: what it sets is there
//! when the first step begins, and what is wrong with it ends the job with the place.

use std::process::Command;

use serde_json::{Value, json};

use crate::world::World;

/// The work of every job here: nothing of interest.
fn sessions(world: &World) -> String {
    let turn = |name: &str, input: Value| {
        json!({ "reply": {
            "tools": [{ "name": name, "input": input }],
            "usage": { "input": 100, "output": 10 },
        }})
    };
    let turns = [
        turn("edit", json!({ "path": "greeting.txt", "old": "good day", "new": "hello" })),
        turn("finish", json!({ "summary": "It says hello now." })),
    ];
    world.session("hello", &turns).to_str().expect("UTF-8").to_owned()
}

/// Runs a job in a repository with these files; answers how it ended, and the log of its step.
fn job(files: &[(&str, &str)], options: &[&str], verify: &[&str]) -> (Value, String) {
    let world = World::new();
    let sessions = sessions(&world);
    let files = [&[("greeting.txt", "good day\n")], files].concat();
    let repository = world.repository("api", &files);
    let _up = world.up(&[&["--replays", &sessions], options].concat());
    let mut arguments = vec!["--json", "run", "Say hello", "--replay", "hello", "--repo"];
    arguments.push(repository.to_str().expect("UTF-8"));
    verify.iter().for_each(|command| arguments.extend(["--verify", command]));
    let job = world.run(&arguments).json();
    let id = job["id"].as_str().expect("an id").to_owned();
    let log = world.run(&["logs", &id]);
    assert_eq!(log.code, Some(0), "{log}");
    (job, log.out)
}

fn failed(job: &Value, code: &str, texts: &[&str]) {
    assert_eq!(job["end"]["outcome"], "failed", "{job}");
    assert_eq!(job["end"]["code"], code, "{job}");
    let reason = job["end"]["reason"].as_str().unwrap_or_default();
    for text in texts {
        assert!(reason.contains(text), "nothing about {text:?} in {reason}");
    }
}

fn says(log: &str, texts: &[&str]) {
    let mut rest = log;
    for text in texts {
        let Some((_, after)) = rest.split_once(text) else {
            panic!("nothing about {text:?} (in this order) in\n{log}");
        };
        rest = after;
    }
}

#[test]
fn variables_commands_tasks_and_services_are_there_when_the_work_begins() {
    let devcontainer = r#"{
        // Comments are fine.
        "containerEnv": { "GREETING": "good day" },
        "remoteEnv": { "BOTH": "${containerEnv:GREETING}, ${containerWorkspaceFolder}" },
        "onCreateCommand": "echo create >> ~/order",
        "updateContentCommand": ["sh", "-c", "echo update >> ~/order"],
        "postCreateCommand": { "one": "touch ~/one; echo made one", "two": "touch ~/two" },
        "postStartCommand": "echo start >> ~/order",
        "postAttachCommand": "echo attach >> ~/order",
    }"#;
    let environment = "
services:
  data:
    start: touch ~/data; exec sleep 1000
    ready: test -e ~/data
    env: { FILE: data }
tasks:
  early: { command: echo prebuild >> ~/order, on: prebuild }
  seed: { command: 'test -e ~/data && echo seed >> ~/order', on: start, depends_on: [data] }
  never: { command: exit 1 }
";
    let files = [
        (".devcontainer/devcontainer.json", devcontainer),
        (".windlass/environment.yaml", environment),
    ];
    let verify = [
        "test \"$BOTH\" = 'good day, /workspaces/api'",
        "test \"$PWD\" = /workspaces/api",
        "test -e ~/one -a -e ~/two -a -e ~/data",
        "test \"$(tr '\\n' ' ' < ~/order)\" = 'create update prebuild start seed attach '",
        "grep -q hello greeting.txt",
    ];
    let (job, log) = job(&files, &[], &verify);
    assert_eq!(job["end"]["outcome"], "succeeded", "{job}\n{log}");
    let headings = [
        "environment: onCreateCommand (.devcontainer/devcontainer.json:5:28)",
        "environment: updateContentCommand",
        "environment: task early",
        "environment: postCreateCommand",
        "[one] made one",
        "environment: postStartCommand",
        "environment: service data",
        "environment: task seed",
        "environment: postAttachCommand",
        "verify:",
    ];
    says(&log, &headings);
}

#[test]
fn a_service_answers_on_its_port_and_is_started_again_when_it_fails() {
    if !Command::new("perl").arg("-v").output().is_ok_and(|output| output.status.success()) {
        assert!(!windlass_testkit::must_run_all(), "perl is not here");
        eprintln!("SKIPPED a service on a port: needs perl: install it");
        return;
    }
    let environment = r#"
services:
  echo:
    start: |
      n=$(cat ~/starts 2>/dev/null || echo 0); echo $((n + 1)) > ~/starts
      test "$n" -ge 1 || { echo not yet; exit 3; }
      exec perl -MIO::Socket::INET -e '
        my $server = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1", LocalPort => 8080, ReuseAddr => 1) or die;
        while (my $client = $server->accept) { print $client "pong\n"; close $client }'
    ready: sh ask.sh
    restart: on_failure
    ports: [8080]
"#;
    let ask = "perl -MIO::Socket::INET -e '
        my $server = IO::Socket::INET->new(\"127.0.0.1:8080\") or exit 1; print <$server>'\n";
    let files = [(".windlass/environment.yaml", environment), ("ask.sh", ask)];
    let (job, log) =
        job(&files, &[], &["test \"$(sh ask.sh)\" = pong", "test \"$(cat ~/starts)\" = 2"]);
    assert_eq!(job["end"]["outcome"], "succeeded", "{job}\n{log}");
    says(&log, &["[echo] not yet", "service echo: it ended: exit 3; it starts again"]);
}

#[test]
fn a_definition_that_is_malformed_ends_the_job_with_every_place() {
    let files = [
        (
            ".devcontainer/devcontainer.json",
            "{\n  \"image\": [],\n  \"containerEnv\": { \"HTTP_PROXY\": \"x\" }\n}",
        ),
        (".windlass/environment.yaml", "services:\n  db:\n    start: x\n    redy: y\n"),
    ];
    let (job, _) = job(&files, &[], &[]);
    let places = [
        ".devcontainer/devcontainer.json:2:12: `image` must be a string, it is a list",
        ".windlass/environment.yaml:4:5: `redy` is no key of this place: did you mean `ready`?",
    ];
    failed(&job, "environment", &places);
}

#[test]
fn the_platforms_variables_and_circles_of_services_are_refused() {
    let files = [
        (".devcontainer.json", "{ \"remoteEnv\": { \"https_proxy\": \"http://elsewhere\" } }"),
        (
            ".windlass/environment.yaml",
            "services:\n  a: { start: x, depends_on: [b] }\n  b: { start: x, depends_on: [a] }\n",
        ),
    ];
    let (job, _) = job(&files, &[], &[]);
    let places = [
        ".devcontainer.json:1:33: the variable `https_proxy` belongs to the platform",
        ".windlass/environment.yaml:2:30: these wait for each other: a → b → a",
    ];
    failed(&job, "environment", &places);
}

#[test]
fn a_service_that_is_never_ready_ends_the_job_with_its_last_words_and_all_are_stopped_in_order() {
    let environment = "
services:
  first:
    start: while ! test -e ~/first; do sleep 0.05; done
    stop: echo stopping first; touch ~/first
  second:
    start: echo no luck today; while ! test -e ~/second; do sleep 0.05; done
    ready: echo asked; exit 4
    ready_timeout: 1s
    stop: echo stopping second; touch ~/second
    depends_on: [first]
";
    let (job, log) = job(&[(".windlass/environment.yaml", environment)], &[], &[]);
    let texts = ["The service `second`", "not ready within 1 s", "exit 4", "no luck today"];
    failed(&job, "service_not_ready", &texts);
    says(
        &log,
        &[
            "service first",
            "service second",
            "[second] no luck",
            "stopping second",
            "stopping first",
        ],
    );
}

#[test]
fn a_service_that_ends_before_it_is_ready_is_not_waited_for() {
    let environment = "services: { db: { start: 'echo no such disk; exit 7', ready: 'false', ready_timeout: 24h } }";
    let (job, _) = job(&[(".windlass/environment.yaml", environment)], &[], &[]);
    failed(
        &job,
        "service_not_ready",
        &["`db`", "ended before it was ready: exit 7", "no such disk"],
    );
}

#[test]
fn a_command_that_fails_ends_the_job_before_the_agent_begins() {
    let devcontainer = r#"{ "postCreateCommand": { "good": "sleep 100", "bad": "echo no such package; exit 9" },
        "postStartCommand": "echo too far" }"#;
    let (job, log) = job(&[(".devcontainer.json", devcontainer)], &[], &[]);
    let texts = [
        "`bad` of `postCreateCommand` (.devcontainer.json:1:24)",
        "exited with 9",
        "no such package",
    ];
    failed(&job, "environment_failed", &texts);
    assert!(!log.contains("too far"), "{log}");
    assert_eq!(job["tokens"], 0, "{job}");
}

#[test]
fn what_this_machine_can_not_give_is_told_or_refused_as_the_operator_says() {
    let files = [(".devcontainer.json", r#"{ "features": { "ghcr.io/acme/tools/go:1": {} } }"#)];
    let (lenient, log) = job(&files, &[], &["test -e greeting.txt"]);
    assert_eq!(lenient["end"]["outcome"], "succeeded", "{lenient}");
    says(
        &log,
        &["[windlass: environment: .devcontainer.json:1:15: warning: Features need an `image`"],
    );
    let (strict, _) = job(&files, &["--environment-definition", "strict"], &[]);
    failed(&strict, "environment", &[".devcontainer.json:1:15: Features need an `image`"]);
    let (off, _) =
        job(&[(".devcontainer.json", "no JSON")], &["--environment-definition", "off"], &[]);
    assert_eq!(off["end"]["outcome"], "succeeded", "{off}");
}

#[test]
fn a_definition_can_be_checked_without_a_server() {
    let world = World::new();
    let files = [
        (
            ".devcontainer.json",
            "{ \"features\": { \"ghcr.io/acme/tools/go:1\": {} }, \"remoteEnv\": { \"A\": \"1\" }, \"postCreateCommand\": \"make\" }",
        ),
        (".windlass/environment.yaml", "services: { db: { start: x } }"),
    ];
    world.repository("api", &files);
    let found = world.json(&["--json", "environment", "resolve", "api"]);
    assert_eq!(found["tree"], "/workspaces/api", "{found}");
    assert_eq!(found["variables"], json!([["A", "1"]]), "{found}");
    assert_eq!(found["automation"]["services"]["db"]["start"], "x", "{found}");
    assert_eq!(found["findings"][0]["severity"], "warn", "{found}");
    let text = world.run(&["environment", "resolve", "api"]);
    text.says(
        0,
        &[
            "definition .devcontainer.json",
            "/workspaces/api",
            "A=1",
            "postCreateCommand \"make\"",
            "start 1: db",
        ],
    );
    world.run(&["environment", "check", "api"]).says(0, &["warning: Features need an `image`"]);
    let strict = ["environment", "check", "api", "--environment-definition", "strict"];
    world.run(&strict).says(8, &[".devcontainer.json:1:15: Features"]);

    std::fs::write(world.path("api/.devcontainer.json"), "{").expect("it can be written");
    let refused = world.run(&["--json", "environment", "resolve", "api"]);
    assert_eq!(refused.code, Some(8), "{refused}");
    assert_eq!(refused.json()["findings"][0]["severity"], "refuse", "{refused}");
    world.run(&["environment", "check", "nowhere"]).says(1, &["nowhere"]);
}

#[test]
fn a_prebuild_by_hand_is_what_the_next_task_begins_with() {
    let world = World::new();
    let definition = r#"{ "onCreateCommand": "echo made >> ~/made" }"#;
    let repository = world.repository("api", &[(".devcontainer.json", definition)]);
    let _up = world.up(&["--ahead", "0"]);
    world.json(&["--json", "project", "add", repository.to_str().expect("UTF-8")]);
    let log = || {
        let job = world.run(&["--json", "project", "prebuild", "api"]).json();
        assert_eq!(job["end"]["outcome"], "succeeded", "{job}");
        world.run(&["logs", job["id"].as_str().expect("an id")]).out
    };
    says(&log(), &["not from the pool (", "onCreateCommand", "a snapshot is kept"]);
    let second = log();
    says(&second, &["not from the pool, with its prebuild ("]);
    assert!(!second.contains("onCreateCommand"), "{second}");
}
