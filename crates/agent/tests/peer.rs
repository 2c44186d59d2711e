//! Our two agents, driven by a client that we did not write: the protocol's own JavaScript SDK. It
//! needs Node, npm and its registry (some ten megabytes), so it runs when `WINDLASS_TEST_SOAK=1` or
//! `WINDLASS_TEST_ALL=1` is set.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by a panic, skips loudly, and is steered by variables"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::process::Command;
use windlass_agent::builtin::{self, Api};
use windlass_agent::install::{self, HostNpm, Npm};
use windlass_testkit::acp_agent::{self, Script as AgentScript, Step};
use windlass_testkit::model_server::{Answer, Fault, ModelServer, Script, calls, says};

const SDK: &str = "2.4.0";

/// The SDK's module, or `None` and a loud word if it was not asked for.
async fn sdk() -> Option<PathBuf> {
    let asked = |name| std::env::var(name).as_deref() == Ok("1");
    if !asked("WINDLASS_TEST_SOAK") && !asked("WINDLASS_TEST_ALL") {
        eprintln!("SKIPPED peer: needs Node, npm and its registry: set WINDLASS_TEST_SOAK=1");
        return None;
    }
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = ONE_AT_A_TIME.lock().await;
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("acp-sdk-{SDK}"));
    let module = directory.join("node_modules/@agentclientprotocol/sdk/dist/v1/stable/acp.js");
    if !module.exists() {
        std::fs::create_dir_all(&directory).unwrap();
        let manifest = json!({"private": true, "dependencies": {"@agentclientprotocol/sdk": SDK, "zod": "4.1.12"}});
        std::fs::write(directory.join("package.json"), manifest.to_string()).unwrap();
        let environment = install::environment(std::env::vars());
        let mut npm =
            HostNpm { program: "npm".into(), environment, limit: Duration::from_secs(300) };
        let arguments =
            ["install", "--ignore-scripts", "--no-audit", "--no-fund"].map(str::to_owned);
        npm.run(&arguments, &directory).await.unwrap();
    }
    Some(module)
}

async fn drive(sdk: &Path, port: u16, cwd: &Path, mode: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peer/client.mjs");
    let output = Command::new("node")
        .arg(script)
        .arg(sdk)
        .arg(port.to_string())
        .arg(cwd)
        .arg(mode)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"))
}

fn kinds(seen: &Value) -> Vec<&str> {
    let mut kinds: Vec<&str> = Vec::new();
    for update in seen["updates"].as_array().unwrap() {
        let kind = update["sessionUpdate"].as_str().unwrap();
        if kinds.last() != Some(&kind) && kind != "usage_update" {
            kinds.push(kind);
        }
    }
    kinds
}

#[tokio::test]
async fn the_built_in_agent_is_understood_by_the_sdk() {
    let Some(sdk) = sdk().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let server = ModelServer::start(Script::sequence([
        Answer::Reply(calls("I look.", "edit", json!({"path": "a", "new": "x"}))),
        Answer::Reply(calls("", "exec", json!({"command": "cat a"}))),
        Answer::Reply(calls("", "finish", json!({"summary": "Done."}))),
        Answer::Fault(Fault::Held { reply: says("Hm."), after: 0 }),
    ]))
    .await
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let options = builtin::Options::new(Api::AnthropicMessages, &server.url(), "m").unwrap();
    let agent = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, write) = stream.into_split();
        builtin::serve(read, write, options).await
    });
    let seen = drive(&sdk, port, directory.path(), "ask").await;
    assert_eq!(seen["agent"], "windlass");
    assert_eq!(seen["modes"], json!(["ask", "auto", "full"]));
    assert_eq!(seen["permissions"], json!(["Edit a", "cat a"]));
    assert_eq!(seen["stops"], json!(["end_turn", "cancelled"]));
    assert_eq!(
        kinds(&seen),
        [
            "agent_message_chunk",
            "tool_call",
            "tool_call_update",
            "tool_call",
            "tool_call_update",
            "agent_message_chunk"
        ]
    );
    assert_eq!(std::fs::read_to_string(directory.path().join("a")).unwrap(), "x");
    agent.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_scripted_agent_is_understood_by_the_sdk() {
    let Some(sdk) = sdk().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let script = AgentScript {
        modes: vec!["ask".to_owned(), "full".to_owned()],
        turns: vec![
            vec![
                Step::Think { text: "Hm.".to_owned() },
                Step::Plan { entries: vec![("Look".to_owned(), "completed".to_owned())] },
                Step::Edit { path: "a".to_owned(), text: "x".to_owned() },
                Step::Ask {
                    title: "Run it?".to_owned(),
                    options: vec!["allow_once".to_owned(), "reject_once".to_owned()],
                    input: json!({}),
                    allowed: vec![Step::Run { command: "cat a".to_owned() }],
                    denied: vec![Step::Exit { code: 1 }],
                },
                Step::Say { text: "Done.".to_owned() },
            ],
            vec![Step::Hang],
        ],
        ..AgentScript::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, write) = stream.into_split();
        acp_agent::serve(BufReader::new(read), write, script, |_| None).await
    });
    let seen = drive(&sdk, port, directory.path(), "full").await;
    assert_eq!(seen["agent"], "scripted-agent");
    assert_eq!(seen["permissions"], json!(["Run it?"]));
    assert_eq!(seen["stops"], json!(["end_turn", "cancelled"]));
    assert_eq!(
        kinds(&seen),
        [
            "agent_thought_chunk",
            "plan",
            "tool_call",
            "tool_call_update",
            "tool_call",
            "tool_call_update",
            "tool_call",
            "tool_call_update",
            "agent_message_chunk"
        ]
    );
}
