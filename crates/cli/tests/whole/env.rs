//! Environments that live by themselves, from the command line: made, used, stopped with their work kept,
//! started again as they were, deleted and had back.

use crate::world::{World, git};

#[path = "../../../server/tests/browser/tools.rs"]
pub(crate) mod tools;

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
    let expected =
        ["repository", "check-out", "definition", "environment", "work tree", "preparation"];
    assert_eq!(stages, expected);
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
fn a_shell_has_a_terminal_of_the_size_of_this_one_and_ends_with_it() {
    let (world, _up) = world();
    world.json(&["--json", "env", "create", "api", "--name", "one"]);
    let told =
        world.run(&["--json", "env", "exec", "one", "--", "sh", "-c", "printf out; kill -9 $$"]);
    let line = told.out.strip_prefix("out\n").expect("the output, and one line");
    let mut told: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert!(told["duration_micros"].as_u64().is_some_and(|micros| micros > 0), "{told}");
    told["duration_micros"] = 0.into();
    let expected = serde_json::json!({
        "exit": null, "signal": 9, "out_of_memory": false, "why": null, "duration_micros": 0,
        "operation": null,
    });
    assert_eq!(told, expected);
    world.run(&["env", "shell", "one"]).says(1, &["needs a terminal"]);

    // `script` is a terminal around the command, as a person's is.
    if !have("script") {
        return skipped("a_shell_has_a_terminal", "script: apt install bsdutils");
    }
    let command = format!("stty rows 31 cols 77; {} env shell one", env!("CARGO_BIN_EXE_windlass"));
    let mut script = world.command("timeout");
    script.args(["--foreground", "120", "script", "-qec", &command, "/dev/null"]);
    // What is interrupted says itself that it is there: what bash says comes before it is.
    let waits = "sh -c \"echo rea''dy; exec sleep 1000\"";
    let commands = format!("stty size; test -t 0 && echo is-a-terminal; {waits}\n");
    let shown = talk(script, &[("$", &commands), ("ready", "\x03"), ("^C", "exit 5\n")]);
    assert!(shown.contains("31 77") && shown.contains("is-a-terminal"), "{shown}");
}

/// Runs a command that is typed at, each text once the one before it was shown; gives what it showed
/// until its end.
fn talk(mut command: std::process::Command, texts: &[(&str, &str)]) -> String {
    use std::io::{Read as _, Write as _};
    let piped = std::process::Stdio::piped;
    let mut child = command.stdin(piped()).stdout(piped()).spawn().expect("started");
    let mut keys = child.stdin.take().expect("piped");
    let mut screen = child.stdout.take().expect("piped");
    let (mut shown, mut buffer, mut texts) = (String::new(), [0; 4096], texts.iter());
    let mut next = texts.next();
    while let Ok(n @ 1..) = screen.read(&mut buffer) {
        shown.push_str(&String::from_utf8_lossy(&buffer[..n]));
        if let Some((_, text)) = next.filter(|(after, _)| shown.contains(after)) {
            keys.write_all(text.as_bytes()).expect("typed");
            next = texts.next();
        }
    }
    let code = child.wait().expect("ended").code();
    assert_eq!(code, Some(5), "{shown}");
    shown
}

#[test]
fn a_token_that_is_revoked_cuts_what_it_opened() {
    let (world, _up) = world();
    let made = world.json(&["--json", "token", "create", "visitor", "--role", "admin"]);
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    std::fs::write(world.path("token"), text(&made["secret"])).expect("written");
    world.json(&["--json", "env", "create", "api", "--name", "one"]);
    let connection = std::fs::read_to_string(world.path("data/connection.json")).expect("a server");
    let connection: serde_json::Value = serde_json::from_str(&connection).expect("JSON");
    let (server, token) = (text(&connection["url"]), world.path("token"));
    let token = token.to_str().expect("UTF-8");
    let mut open = world.windlass(&[
        "--server",
        &server,
        "--token-file",
        token,
        "env",
        "exec",
        "one",
        "--",
        "sh",
        "-c",
        "echo ready; sleep 1000",
    ]);
    let mut open = open.stdout(std::process::Stdio::piped()).spawn().expect("started");
    let mut said = std::io::BufReader::new(open.stdout.take().expect("piped"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).expect("a line");
    assert_eq!(line, "ready\n");
    world.run(&["token", "revoke", &text(&made["token"]["id"])]).says(0, &[]);
    assert_ne!(open.wait().expect("cut").code(), Some(0));
}

#[test]
fn a_terminal_in_a_page_shows_what_is_typed_and_is_cut_when_the_session_ends() {
    let test = "a_terminal_in_a_page";
    let Some(tools) = tools::Tools::find(test) else { return };
    let (world, _up) = world();
    let told = world.json(&["--json", "user", "invite", "ada", "--role", "operator"]);
    let link = told["sign_in_link"].as_str().expect("a link").to_owned();
    let output = tools.script("terminal.mjs").arg(link).output().expect("node starts");
    let (out, err) = (output.stdout, output.stderr);
    assert!(
        output.status.success(),
        "see {}:\n{}{}",
        tools.pictures().display(),
        String::from_utf8_lossy(&out),
        String::from_utf8_lossy(&err)
    );
    let journal = world.run(&["env", "journal", "from-a-page"]);
    journal.says(0, &["opened a terminal in a page", "created it"]);
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
fn one_that_nobody_keeps_says_what_it_waits_for() {
    let world = World::new();
    let repository = world.repository("api", &[("a", "a")]);
    let _up = world.up(&["--environments", "0"]);
    world.run(&["project", "add", repository.to_str().expect("UTF-8")]).says(0, &[]);
    world.run(&["env", "create", "api", "--name", "one", "--no-wait"]).says(0, &["creating"]);
    let why = "no runner that is there keeps environments";
    world.run(&["env", "show", "one"]).says(0, &["creating", why, "--environments N"]);
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

/// Whether a program is on this machine.
fn have(program: &str) -> bool {
    let found = std::process::Command::new("sh")
        .args(["-c", "command -v -- \"$1\"", "sh", program])
        .output();
    found.is_ok_and(|found| found.status.success())
}

/// Says that a test was not made; fails where all shall be.
fn skipped(test: &str, needs: &str) {
    eprintln!("SKIPPED {test}: needs {needs}");
    assert!(std::env::var_os("WINDLASS_TEST_ALL").is_none(), "{test} needs {needs}");
}
