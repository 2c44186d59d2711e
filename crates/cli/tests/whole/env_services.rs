//! Services and tasks of an environment that stays, from the command line: looked at, stopped, started,
//! restarted when they crash, run with what they give.

use crate::world::{Up, World};

const AUTOMATION: &str = r#"
services:
  clock:
    description: Counts its starts
    start: 'echo $$ > ~/pid; echo start >> ~/starts; echo "clock is at $(wc -l < ~/starts)"; exec sleep 1000'
    ready: test -s ~/starts
    restart: on_failure
    ports: [9123]
  web:
    start: 'echo "web serves"; exec sleep 1000'
    depends_on: [clock]
tasks:
  seed:
    command: 'echo seeding; echo 3'
    on: start
    outputs: { rows: integer }
  audit:
    command: |
      echo "auditing"
      echo '{"vulnerabilities": {"count": 2, "names": ["a", "b"]}}' > "$WINDLASS_OUTPUTS/audit.json"
      echo "version 1.2"
    depends_on: [clock]
    outputs:
      count: { type: integer, from: audit.json, pointer: /vulnerabilities/count }
      all: { type: json, from: audit.json, pointer: /vulnerabilities }
      line: string
  wrong: { command: "echo many", outputs: { count: integer } }
  breaks: { command: "echo broken; exit 7" }
"#;

fn world() -> (World, Up) {
    let world = World::new();
    let files = [("a.txt", "a\n"), (".windlass/environment.yaml", AUTOMATION)];
    let repository = world.repository("api", &files);
    let up = world.up(&[]);
    let added = world.run(&["project", "add", repository.to_str().expect("UTF-8")]);
    assert_eq!(added.code, Some(0), "{added}");
    let made = world.run(&["env", "create", "api", "--name", "one"]);
    made.says(0, &["running"]);
    assert!(!made.out.contains("recovery"), "{made}\n{}", world.run(&["env", "logs", "one"]));
    (world, up)
}

#[test]
fn services_are_looked_at_stopped_started_and_come_back_when_they_crash() {
    let (world, _up) = world();
    let state = |name: &str| {
        let all = world.json(&["--json", "env", "services", "one"]);
        let found = all.as_array().expect("a list").iter().find(|one| one["name"] == name);
        found.expect("it is there").clone()
    };
    let clock = state("clock");
    assert_eq!((&clock["state"], &clock["restarts"]), (&"ready".into(), &0.into()), "{clock}");
    assert_eq!((&clock["ports"][0], &clock["restart"]), (&9123.into(), &"on_failure".into()));
    assert_eq!(state("web")["state"], "ready");
    world.run(&["env", "logs", "one", "--service", "clock"]).says(0, &["clock is at 1"]);
    world.run(&["env", "logs", "one", "--service", "cluck"]).says(1, &["there are: clock, web"]);

    world.run(&["env", "services", "stop", "one", "web"]).says(0, &["stopped"]);
    assert_eq!(state("web")["state"], "stopped");
    world.run(&["env", "services", "start", "one", "web"]).says(0, &["ready"]);
    world.run(&["env", "services", "restart", "one", "clock"]).says(0, &["ready"]);
    assert_eq!(state("clock")["restarts"], 1);
    world.run(&["env", "services", "start", "one", "cluck"]).says(1, &["not-found"]);

    // It crashes: followed, its log tells the next start.
    let mut follow = world.windlass(&["env", "logs", "one", "--service", "clock", "--follow"]);
    let mut follow = follow.stdout(std::process::Stdio::piped()).spawn().expect("started");
    let mut said = std::io::BufReader::new(follow.stdout.take().expect("piped"));
    let mut next = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut said, &mut line).expect("a line");
        assert!(!line.is_empty(), "the log ended");
        line
    };
    while !next().contains("clock is at 2") {}
    let kill = "kill -KILL $(cat ~/pid)";
    world.run(&["env", "exec", "one", "--", "sh", "-c", kill]).says(0, &[]);
    while !next().contains("clock is at 3") {}
    follow.kill().expect("ended");
    follow.wait().expect("ended");
    let clock = state("clock");
    assert!(clock["last_end"].as_str().is_some_and(|how| how.contains("signal")), "{clock}");
    let expected = ["stopped the service web", "restarted the service clock"];
    world.run(&["env", "journal", "one"]).says(0, &expected);
    // Told with one of the next looks of the runner.
    while !world.run(&["env", "journal", "one"]).out.contains("saw the service clock end") {}
    world.run(&["env", "stop", "one"]).says(0, &["stopped"]);
    world.run(&["env", "services", "one"]).says(1, &["environment-state"]);
}

#[test]
fn tasks_run_with_their_output_their_code_and_what_they_give() {
    let (world, _up) = world();
    let tasks = world.json(&["--json", "env", "task", "one"]);
    let names: Vec<_> =
        tasks.as_array().expect("a list").iter().map(|task| task["name"].as_str()).collect();
    assert_eq!(names, ["seed", "audit", "wrong", "breaks"].map(Some));
    assert_eq!(tasks[0]["last"]["outputs"]["rows"], 3, "{tasks}");
    world.run(&["env", "logs", "one"]).says(0, &["task seed gave rows = 3"]);

    let audit = world.run(&["env", "task", "one", "audit"]);
    audit.says(0, &["auditing", "version 1.2", "count = 2", "line = \"version 1.2\""]);
    let run = world.json(&["--json", "env", "task", "one", "audit"]);
    let expected = serde_json::json!({
        "count": 2, "all": { "count": 2, "names": ["a", "b"] }, "line": "version 1.2",
    });
    assert_eq!((&run["outputs"], &run["exit"]), (&expected, &0.into()), "{run}");
    let wrong = world.run(&["env", "task", "one", "wrong"]);
    wrong.says(1, &["The task `wrong` gave no `count`: `many` is not of the type integer."]);
    world.run(&["env", "task", "one", "breaks"]).says(7, &["broken", "ended: exit 7"]);
    world.run(&["env", "logs", "one", "--task", "breaks"]).says(0, &["broken"]);
    world
        .run(&["env", "task", "one", "audits"])
        .says(1, &["there is no task audits; there are: seed"]);
    world.run(&["env", "journal", "one"]).says(0, &["ran the task audit"]);
}

#[test]
fn a_task_of_the_start_that_gives_the_wrong_thing_fails_it_with_the_value() {
    let world = World::new();
    let automation =
        "tasks: { seed: { command: echo many, on: start, outputs: { rows: integer } } }\n";
    let repository = world.repository("api", &[(".windlass/environment.yaml", automation)]);
    let _up = world.up(&[]);
    world.run(&["project", "add", repository.to_str().expect("UTF-8")]).says(0, &[]);
    let made = world.json(&["--json", "env", "create", "api", "--name", "one"]);
    let why = "The task `seed` gave no `rows`: `many` is not of the type integer.";
    assert_eq!(made["recovery"], why, "{made}");
}
