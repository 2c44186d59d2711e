//! Secrets, from the command line to a step and no further.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::world::{World, git};

const TOKEN: &str = "hunter2hunter2-token";
const KEY: &str = "-----BEGIN KEY-----\nhunter2hunter2hunter2\n-----END KEY-----\n";

/// Says what it can find of a secret, in words that no redaction hides.
const LOOK: &str = "TOKEN=${TOKEN:-}
echo \"token ${#TOKEN} ${TOKEN:0:2}\"
ls /run/secrets 2> /dev/null || echo 'no files'
echo \"processes $(cat /proc/[0-9]*/environ 2> /dev/null | grep -ac hunter2 || true)\"
";

/// The same for an agent: it can speak on its standard error only.
const DUMP: &str = "exec 1>&2
echo \"token ${#TOKEN}\"
env | cut -c1-400
tr '\\0' '\\n' < /proc/1/environ || true
cat /proc/[0-9]*/environ 2> /dev/null | tr '\\0' '\\n' | grep hunter || echo 'no process has it'
cat /run/secrets/key || echo 'no file has it'
value=hunter2
grep -rl \"$value$value\" /run /tmp /dev/shm /home . 2> /dev/null || echo 'no folder has it'
exit 1
";

/// Runs the binary with this on its standard input.
fn with_input(world: &World, arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let mut child = world
        .windlass(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("windlass can be started");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn set(world: &World, arguments: &[&str], input: &str) -> String {
    let (code, said) = with_input(world, &[&["secret", "set"], arguments].concat(), input);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    said
}

/// Starts a run by the API and follows its only job to the end.
fn run(world: &World, body: &Value) -> (String, Value) {
    let file = std::fs::read(world.path("data/connection.json")).expect("a server has run");
    let connection: Value = serde_json::from_slice(&file).expect("JSON");
    let text = |name: &str| connection[name].as_str().expect("text").to_owned();
    let url = format!("{}/api/v1/runs", text("url"));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let send = async {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client.post(url).bearer_auth(text("token")).json(body);
        let answer = request.send().await.expect("answered").text().await.expect("text");
        serde_json::from_str::<Value>(&answer).expect("JSON")
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let started = runtime.expect("a runtime").block_on(send);
    let job_id = started["job_ids"][0].as_str().unwrap_or_else(|| panic!("{started}")).to_owned();
    let job = world.run(&["--json", "job", "show", &job_id, "--follow"]).json();
    (job_id, job)
}

fn steps(base: &str) -> Value {
    let step = |id: &str, action: Value| json!({ "id": id, "action": action });
    let look = |id: &str, more: &str| {
        step(id, json!({ "kind": "run", "command": format!("{LOOK}{more}") }))
    };
    let mut agent = step(
        "agent",
        json!({
            "kind": "agent", "prompt": "Look around.", "harness": "custom: bash dump.sh", "attempts": 1,
        }),
    );
    agent["continue_on_error"] = json!(true);
    let show = "echo \"it is $TOKEN\"; sha256sum < /run/secrets/key; cat /run/secrets/key";
    json!({
        "project": "api",
        "base": base,
        "title": "Look",
        "pull_request": false,
        "steps": [look("build", show), agent, look("after", "")],
    })
}

/// What a step said, without where the time of its environment's start went.
fn log(world: &World, job_id: &str, step: &str) -> String {
    let ended = world.run(&["logs", job_id, "--step", step]);
    assert_eq!(ended.code, Some(0), "{ended}");
    let said =
        ended.out.lines().filter(|line| !line.starts_with("[windlass: environment: started"));
    said.map(|line| format!("{line}\n")).collect()
}

/// No file of the data folder has a value in it.
fn written_nowhere(folder: &Path) {
    let found = Command::new("grep").args(["-rlaF", "hunter2hunter2"]).arg(folder).output();
    let found = found.expect("grep can be started");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn a_step_has_a_secret_and_the_agent_after_it_has_not() {
    let world = World::new();
    let repository = world.repository("api", &[("dump.sh", DUMP)]);
    git(&repository, &["branch", "feature"]);
    let _up = world.up(&[]);
    world.run(&["project", "add", "api"]).says(0, &["api"]);
    let said =
        set(&world, &["TOKEN", "--project", "api", "--branch", "main"], &format!("{TOKEN}\n"));
    assert!(said.contains("secret TOKEN is set, version 1: $TOKEN"), "{said}");
    std::fs::write(world.path("key"), KEY).expect("written");
    let key = world.path("key");
    let key = ["KEY", "--project", "api", "--branch", "main", "--file", "/run/secrets/key"]
        .into_iter()
        .chain(["--mode", "0400", "--from-file", key.to_str().expect("UTF-8")]);
    set(&world, &key.collect::<Vec<_>>(), "");
    std::fs::remove_file(world.path("key")).expect("it was there");

    let (job_id, job) = run(&world, &steps("main"));
    assert_eq!(job["end"]["outcome"], "succeeded", "{job}");
    let build = log(&world, &job_id, "build");
    let length = TOKEN.len();
    for text in [&format!("token {length} hu\nkey\n"), "it is [redacted:TOKEN]\n", "[redacted:KEY]"]
    {
        assert!(build.contains(text), "{text:?} is not in {build}");
    }
    let agent = log(&world, &job_id, "agent");
    for text in ["token 0\n", "no process has it\n", "no file has it\n", "no folder has it\n"] {
        assert!(agent.contains(text), "{text:?} is not in {agent}");
    }
    assert!(!agent.contains("redacted"), "{agent}");
    // A step after the agent is given nothing unless a grant names it.
    assert_eq!(log(&world, &job_id, "after"), "token 0 \nno files\nprocesses 0\n");
    let all = world.run(&["--json", "job", "events", &job_id]).out;
    assert!(!format!("{build}{agent}{all}{job}").contains("hunter2hunter2"), "{build}{agent}");

    // Another branch is given nothing, and the next job has what was set last.
    let (job_id, _) = run(
        &world,
        &json!({
            "project": "api", "base": "feature", "title": "Look", "pull_request": false,
            "steps": [{ "id": "build", "action": { "kind": "run", "command": LOOK } }],
        }),
    );
    assert_eq!(log(&world, &job_id, "build"), "token 0 \nno files\nprocesses 0\n");
    let said = set(&world, &["TOKEN", "--project", "api"], "another secret, longer than that");
    assert!(said.contains("version 2"), "{said}");
    let (job_id, _) = run(&world, &steps("main"));
    let build = log(&world, &job_id, "build");
    assert!(build.contains("token 32 an\nkey\n"), "{build}");
    written_nowhere(&world.path("data"));
}

/// A server on loopback that answers with the credential it was sent, and keeps it.
fn service() -> (u16, std::sync::mpsc::Receiver<String>) {
    use std::io::{BufRead as _, BufReader};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
            let head: Vec<_> = lines.map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
            let is_sent = |line: &&String| line.to_lowercase().starts_with("authorization:");
            let sent = head.iter().find(is_sent).cloned().unwrap_or_default();
            let body = format!("you sent {sent}\n");
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            let _ = stream.write_all(answer.as_bytes());
            let _ = sender.send(format!("{} {sent}", head[0]));
        }
    });
    (port, seen)
}

#[test]
fn a_door_sends_a_secret_that_no_step_and_no_agent_has() {
    let world = World::new();
    // An agent can speak on its standard error only.
    let ask = "test -z \"${TOKEN:-}\" && address=${WINDLASS_DOOR_TOKEN#http://} && \
        exec 3<> \"/dev/tcp/127.0.0.1/${address:10:5}\" && \
        printf 'GET /%s/items HTTP/1.0\\r\\n\\r\\n' \"${address#*/}\" >&3 && cat <&3";
    world.repository("api", &[("ask.sh", &format!("exec 1>&2\n{ask}\nexit 1\n"))]);
    let (port, seen) = service();
    let _up = world.up(&["--allow-private", &format!("localhost:{port} in 127.0.0.0/8")]);
    world.run(&["project", "add", "api"]).says(0, &["api"]);
    let url = format!("http://localhost:{port}/v1");
    let said = set(&world, &["TOKEN", "--project", "api", "--door", &url], TOKEN);
    assert!(said.contains(&format!("door to {url} (GET, HEAD)")), "{said}");
    let body = json!({
        "project": "api", "base": "main", "title": "Ask", "pull_request": false,
        "network": [format!("localhost:{port}")],
        "steps": [
            { "id": "build", "action": { "kind": "run", "command": format!("bash -c '{}'", ask.replace('\'', "'\\''")) } },
            {
                "id": "agent", "continue_on_error": true, "action": {
                    "kind": "agent", "prompt": "Ask.", "harness": "custom: bash ask.sh", "attempts": 1,
                },
            },
        ],
    });
    let (job_id, job) = run(&world, &body);
    for step in ["build", "agent"] {
        let log = log(&world, &job_id, step);
        assert!(log.contains("you sent authorization: [redacted:TOKEN]"), "{step}: {log} {job}");
        let expected = format!("GET /v1/items HTTP/1.1 authorization: Bearer {TOKEN}");
        assert_eq!(seen.recv().expect("a request"), expected);
    }
    written_nowhere(&world.path("data"));
    let (code, said) =
        with_input(&world, &["variable", "set", "LEVEL", "--door", "https://a.example"], "3\n");
    assert!(code == Some(3) || code == Some(1), "{code:?} {said}");
    assert!(said.contains("are for secrets"), "{said}");
}

#[test]
fn an_environment_that_lives_by_itself_has_the_secrets_of_whoever_executes_as_they_are_now() {
    let world = World::new();
    let definition = json!({
        "onCreateCommand": "echo \"before ${#TOKEN}\" > ~/seen",
        "postCreateCommand": "echo \"set-up ${#NPM_TOKEN} $NPM_TOKEN\"; echo \"after ${#TOKEN}\" >> ~/seen",
    });
    world.repository("api", &[(".devcontainer.json", &definition.to_string())]);
    let (port, seen) = service();
    let _up = world.up(&["--allow-private", &format!("localhost:{port} in 127.0.0.0/8")]);
    world.run(&["project", "add", "api"]).says(0, &["api"]);
    set(&world, &["TOKEN"], TOKEN);
    set(&world, &["KEY", "--step", "exec", "--file", "/run/secrets/key", "--mode", "0400"], KEY);
    set(&world, &["NPM_TOKEN", "--step", "setup", "--project", "api"], "hunter2hunter2-npm");
    set(&world, &["DEPLOY", "--step", "deploy"], "hunter2hunter2-deploy");
    let url = format!("http://localhost:{port}/v1");
    set(&world, &["SERVICE", "--door", &url], "hunter2hunter2-door");
    let network = format!("localhost:{port}");
    world.json(&["--json", "env", "create", "api", "--name", "one", "--allow", &network]);
    world
        .run(&["env", "logs", "one"])
        .says(0, &["given NPM_TOKEN", "set-up 18 [redacted:NPM_TOKEN]"]);

    let exec = |script: &str| world.run(&["env", "exec", "one", "--", "bash", "-c", script]);
    exec("cat ~/seen; echo \"${#TOKEN} ${#NPM_TOKEN} ${#DEPLOY}\"; stat -c '%a %n' /run/secrets/*")
        .says(0, &["before 0\nafter 0\n20 0 0\n400 /run/secrets/key\n"]);
    assert_eq!(exec("cat /run/secrets/key").out, KEY.trim_end());
    let ask = "address=${WINDLASS_DOOR_SERVICE#http://}; exec 3<> /dev/tcp/127.0.0.1/${address:10:5}; \
        printf 'GET /%s/items HTTP/1.0\r\n\r\n' \"${address#*/}\" >&3; cat <&3";
    exec(ask).says(0, &["you sent authorization: [redacted:SERVICE]"]);
    let expected = "GET /v1/items HTTP/1.1 authorization: Bearer hunter2hunter2-door";
    assert_eq!(seen.recv().expect("a request"), expected);

    // What is set again is there at the next program; what is removed is not.
    set(&world, &["TOKEN"], "another one, a bit longer");
    exec("echo ${#TOKEN}").says(0, &["25"]);
    world.run(&["secret", "rm", "TOKEN"]).says(0, &[]);
    assert_eq!(exec("echo ${#TOKEN}").out, "0\n");
    world.json(&["--json", "env", "stop", "one"]);
    written_nowhere(&world.path("data"));
}

#[test]
fn an_agent_reads_a_secret_only_in_a_job_that_says_that_it_is_sensitive() {
    let world = World::new();
    world.repository("api", &[("dump.sh", DUMP)]);
    let _up = world.up(&[]);
    world.run(&["project", "add", "api"]).says(0, &["api"]);
    set(&world, &["TOKEN", "--beside-agents", "--project", "api"], TOKEN);
    set(&world, &["KEY", "--file", "/run/secrets/key"], KEY);
    world.run(&["secret", "list"]).says(0, &["agents may read it"]);
    let (job_id, job) = run(&world, &steps("main"));
    assert_eq!(job["sensitive"], json!(["TOKEN"]), "{job}");
    let agent = log(&world, &job_id, "agent");
    assert!(agent.contains(&format!("token {}\n", TOKEN.len())), "{agent}");
    assert!(agent.contains("TOKEN=[redacted:TOKEN]\n"), "{agent}");
    assert_eq!(log(&world, &job_id, "after"), "token 0 \nno files\nprocesses 0\n");
    written_nowhere(&world.path("data"));
}

#[test]
fn secrets_and_variables_are_listed_and_removed_by_name() {
    let world = World::new();
    world.repository("api", &[("a", "1\n")]);
    let _up = world.up(&["--no-runner"]);
    world.run(&["project", "add", "api"]).says(0, &["api"]);
    set(&world, &["TOKEN", "--branch", "main", "--step", "deploy"], TOKEN);
    let (code, said) = with_input(&world, &["variable", "set", "LEVEL", "--project", "api"], "3\n");
    assert_eq!((code, said.contains("variable LEVEL is set")), (Some(0), true), "{said}");
    world
        .run(&["secret", "list"])
        .says(0, &["TOKEN", "organisation", "branches main; steps deploy"]);
    world.run(&["variable", "list"]).says(0, &["LEVEL", "project api", "everywhere", "3"]);
    let listed = world.json(&["--json", "secret", "list"]);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    assert!(listed["items"][0]["value"].is_null() && !listed.to_string().contains("hunter2"));

    // Setting it again keeps the limits; taking them back is said in so many words.
    set(&world, &["TOKEN"], TOKEN);
    world.run(&["secret", "list"]).says(0, &["branches main; steps deploy"]);
    set(&world, &["TOKEN", "--everywhere"], TOKEN);
    world.run(&["secret", "list"]).says(0, &["everywhere"]);

    world.run(&["secret", "rm", "LEVEL"]).says(1, &["there is no secret LEVEL"]);
    world.run(&["variable", "rm", "LEVEL", "--project", "api"]).says(0, &[]);
    world.run(&["secret", "rm", "TOKEN"]).says(0, &[]);
    let listed = world.json(&["--json", "secret", "list"]);
    assert_eq!(listed["items"], json!([]));
}

#[test]
fn bad_input_is_refused_without_its_value() {
    let world = World::new();
    let (code, said) = with_input(&world, &["secret", "set", "TOKEN"], TOKEN);
    assert_eq!(code, Some(6), "{said}");
    let _up = world.up(&["--no-runner"]);
    let cases: [(&[&str], &str, i32, &str); 5] = [
        (&["PATH"], TOKEN, 1, "reserved"),
        (&["TOKEN"], "hunter2", 1, "at least 8 bytes"),
        (&["TOKEN", "--file", "/etc/passwd"], TOKEN, 1, "/run/secrets/NAME"),
        (&["TOKEN", "--project", "nowhere"], TOKEN, 1, "no project nowhere"),
        (&["TOKEN", "--user"], TOKEN, 1, "belongs to no user"),
    ];
    for (arguments, input, expected, text) in cases {
        let (code, said) = with_input(&world, &[&["secret", "set"], arguments].concat(), input);
        assert_eq!(code, Some(expected), "{said}");
        assert!(said.contains(text) && !said.contains("hunter2"), "{said}");
    }
    // There is no place for a value on the command line.
    world.run(&["secret", "set", "TOKEN", "value"]).says(2, &["unexpected argument"]);
    world.run(&["secret", "set", "TOKEN", "--mode", "0600"]).says(2, &["--file"]);
}
