//! The providers' own client libraries read what a replayed session and the scripted model server
//! answer: neither was written by us, so they can tell us that our formats are wrong.
//!
//! Runs with WINDLASS_TEST_NPM=1 or WINDLASS_TEST_ALL=1; installs three packages from npm.

#![expect(
    clippy::disallowed_methods,
    reason = "whether to install packages is the choice of whoever runs the tests"
)]

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    sync::Arc,
};

use serde_json::{Value, json};
use windlass_gateway::{
    Secret,
    model::{self, Credential, Options, Provider, Providers, Record, Source, Unmetered},
    replay::{Replay, Session},
    upstream,
};
use windlass_testkit::model_server::{Answer, Fault, ModelServer, Reply, Script, ToolUse, Usage};

const PACKAGES: [&str; 3] = ["@anthropic-ai/sdk@1.12.0", "openai@6.49.0", "@google/genai@1.52.0"];

fn wanted() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| value == "1");
    set("WINDLASS_TEST_ALL") || set("WINDLASS_TEST_NPM")
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = std::process::Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{program} {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn reply() -> Reply {
    Reply {
        text: "I will look at the file first — ü 🦀 — and then say more about it.\n".to_owned(),
        tools: vec![
            ToolUse {
                name: "read".to_owned(),
                input: json!({ "path": "src/a \"quoted\" name.py" }),
            },
            ToolUse { name: "read".to_owned(), input: json!({ "path": "b.py" }) },
        ],
        usage: Usage { input: 120, output: 17, cached: 40 },
        ..Reply::default()
    }
}

fn door(source: Source) -> windlass_gateway::Door {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let records = Arc::new(|_: Record| {});
    model::serve(listener, Options::new(source, Arc::new(Unmetered), records, "sdk".to_owned()))
        .expect("a door")
}

fn check(directory: &Path, address: SocketAddr) {
    let printed = run(directory, "node", &["check.mjs", &format!("http://{address}")])
        .expect("the script ends well");
    let lines: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let reply = reply();
    let names = ["anthropic", "chat", "responses", "gemini"];
    let stops = ["tool_use", "tool_calls", "completed", "STOP"];
    let mut expected = Vec::new();
    for (name, stop) in names.iter().zip(stops) {
        for form in ["whole", "stream"] {
            let answer = json!({ "text": reply.text, "tools": reply.tools, "usage": [120, 17, 40], "stop": stop });
            expected.push(json!({ "name": format!("{name} {form}"), "answer": answer }));
        }
    }
    for name in names {
        for form in ["whole", "stream"] {
            expected.push(json!({ "name": format!("{name} {form}"), "error": 429, "busy": true }));
        }
    }
    assert_eq!(lines, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_own_libraries_read_our_answers() {
    let directory = tempfile::tempdir().expect("a directory");
    let ready = if !wanted() {
        Err("WINDLASS_TEST_NPM=1, node, npm and a package registry".to_owned())
    } else {
        install(directory.path())
    };
    if let Err(needs) = ready {
        assert!(std::env::var_os("WINDLASS_TEST_ALL").is_none_or(|value| value != "1"), "{needs}");
        eprintln!("SKIPPED the_providers_own_libraries_read_our_answers: needs {needs}");
        return;
    }

    let turn = json!({ "reply": reply() });
    let busy =
        json!({ "reply": { "error": { "status": 429, "message": "busy", "retry_after": 1 } } });
    let mut text =
        json!({ "windlass_session": 1, "about": "libraries", "scripted": true }).to_string();
    for turn in std::iter::repeat_n(&turn, 8).chain(std::iter::repeat_n(&busy, 8)) {
        text.push_str(&format!("\n{turn}"));
    }
    let session = Session::parse(&text, &BTreeMap::new()).expect("a session");
    let replayed = door(Source::Replay(Arc::new(Replay::new(session))));
    check(directory.path(), replayed.address());

    let _ = rustls::crypto::ring::default_provider().install_default();
    let fault = Fault::Status { status: 429, message: "busy".to_owned(), retry_after: Some(1) };
    let answers =
        std::iter::repeat_n(Answer::Reply(reply()), 8).chain(std::iter::repeat_n(fault.into(), 8));
    let server = ModelServer::start(Script::sequence(answers)).await.expect("a server");
    let provider = |base: String| {
        Some(Provider {
            base_url: base.parse().expect("a URL"),
            credential: Credential::Key(Secret::new("sk-outside")),
        })
    };
    let passed = door(Source::Providers(Box::new(Providers {
        client: upstream::client(&upstream::Options::default()).expect("a client"),
        anthropic: provider(server.url()),
        openai: provider(format!("{}/v1", server.url())),
        gemini: provider(server.url()),
    })));
    check(directory.path(), passed.address());
    assert_eq!(server.unexpected(), 0);
}

fn install(directory: &Path) -> Result<(), String> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/check.mjs");
    std::fs::copy(source, directory.join("check.mjs")).map_err(|error| error.to_string())?;
    std::fs::write(directory.join("package.json"), "{\"private\":true}")
        .map_err(|error| error.to_string())?;
    run(directory, "node", &["--version"])?;
    let mut arguments = vec!["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save"];
    arguments.extend(PACKAGES);
    run(directory, "npm", &arguments).map(|_| ())
}
