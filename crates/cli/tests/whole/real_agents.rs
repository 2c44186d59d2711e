//! Claude Code and Codex, installed from npm by `windlass agents install`, at work in environments
//! against a scripted model on loopback. They need npm, its registry and 2 GB, so they run only in a
//! soak.

use std::{path::PathBuf, process::Output};

use serde_json::{Value, json};
use windlass_testkit::model_server::{
    Answer, Fault, ModelServer, Reply, Script, Seen, calls, says,
};

use crate::world::World;

const AGENTS: [&str; 2] = ["claude-code", "codex"];

/// A world with an installed agent, or none when no soak was asked for.
struct Stage {
    world: World,
    agent: &'static str,
    server: ModelServer,
}

impl Stage {
    async fn new(agent: &'static str, script: Script) -> Self {
        let world = World::new();
        let test = "[ \"$(cat answer.txt)\" = 42 ] && echo 'the tests pass'\n";
        world.repository("api", &[("README.md", "# Answer\n"), ("test.sh", test)]);
        let server = ModelServer::start(script).await.expect("a port is free");
        let installed = world.run(&["agents", "install", agent]);
        assert_eq!(installed.code, Some(0), "{installed}");
        world.run(&["agents", "check", agent]).says(0, &["answers"]);
        Self { world, agent, server }
    }

    /// Gives the task and waits for the end of the job.
    async fn job(&self, extra: &[&str]) -> Value {
        let mut arguments =
            vec!["--json", "run", "Write the answer to answer.txt", "--repo", "api"];
        arguments.extend(["--agent", self.agent, "--model", "scripted-model"]);
        arguments.extend(extra);
        let mut command = self.world.windlass(&arguments);
        for variable in ["ANTHROPIC", "OPENAI"] {
            let base = match variable {
                "OPENAI" => format!("{}/v1", self.server.url()),
                _ => self.server.url(),
            };
            command.env(format!("{variable}_BASE_URL"), base);
            command.env(format!("{variable}_API_KEY"), "a-key-of-the-test");
        }
        let output: Output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("it is waited for")
            .expect("windlass can be started");
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).unwrap_or_else(|e| {
            panic!("no JSON ({e}): {text}{}", String::from_utf8_lossy(&output.stderr))
        })
    }
}

fn is_soak() -> bool {
    let soak = std::env::var("WINDLASS_TEST_SOAK").as_deref() == Ok("1");
    if !soak {
        eprintln!(
            "SKIPPED real agents in environments: needs npm, its registry and 2 GB: set \
             WINDLASS_TEST_SOAK=1"
        );
    }
    soak
}

fn run(agent: &str, command: &str) -> Reply {
    match agent {
        "claude-code" => calls("", "Bash", json!({ "command": command, "description": "work" })),
        _ => calls("", "exec_command", json!({ "cmd": command })),
    }
}

fn first_write(agent: &str) -> Reply {
    let path = PathBuf::from("/workspace/api/answer.txt");
    match agent {
        "claude-code" => calls("Editing.", "Write", json!({ "file_path": path, "content": "41" })),
        _ => run(agent, "printf '%s' 41 > answer.txt"),
    }
}

/// A model that answers wrongly at first, and rightly when it is told that the tests fail.
fn work(agent: &str, seen: &Seen) -> Reply {
    let Some(prompt) = seen.prompt.as_ref().filter(|prompt| !prompt.tools.is_empty()) else {
        return says("A title");
    };
    match prompt.answers {
        0 => first_write(agent),
        1 => run(agent, "sh test.sh"),
        2 => says("All done, surely."),
        3 => run(agent, "printf '%s' 42 > answer.txt"),
        4 => run(agent, "sh test.sh"),
        _ => says("All done."),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_agent_edits_runs_the_tests_corrects_itself_and_ends_in_a_pull_request() {
    if !is_soak() {
        return;
    }
    for agent in AGENTS {
        let stage = Stage::new(agent, Script::each(move |seen| work(agent, seen).into())).await;
        let job = stage.job(&["--verify", "sh test.sh"]).await;
        assert_eq!(job["end"]["outcome"], "succeeded", "{agent}: {job}");
        assert_eq!(job["pull_request"]["number"], 1, "{agent}: {job}");
        let id = job["id"].as_str().expect("an id").to_owned();
        let _up = stage.world.up(&["--no-runner"]);
        stage.world.run(&["job", "diff", &id]).says(0, &["+42"]);
        stage.world.run(&["job", "session", &id]).says(0, &["All done."]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_api_and_a_cut_stream_end_the_job_with_a_reason() {
    if !is_soak() {
        return;
    }
    for agent in AGENTS {
        let refused = || Fault::Status {
            status: 400,
            message: "the model said no".to_owned(),
            retry_after: None,
        };
        let cut = || Fault::Cut { reply: says("I begin."), after: 1 };
        let stage = Stage::new(agent, Script::each(move |_| Answer::Fault(refused()))).await;
        ends_badly(agent, &stage.job(&[]).await);
        let stage = Stage::new(agent, Script::each(move |_| Answer::Fault(cut()))).await;
        ends_badly(agent, &stage.job(&[]).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_tool_leaves_no_change_whatever_the_agent_says() {
    if !is_soak() {
        return;
    }
    for agent in AGENTS {
        let stage = Stage::new(agent, Script::each(move |seen| work(agent, seen).into())).await;
        let job = stage.job(&["--mode", "ask"]).await;
        assert!(job["pull_request"].is_null(), "{agent}: {job}");
        assert!(job["end"]["reason"].as_str().is_some_and(|why| !why.is_empty()), "{agent}: {job}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_at_work_ends_the_job_with_a_reason() {
    if !is_soak() {
        return;
    }
    for agent in AGENTS {
        let kills = move |seen: &Seen| match &seen.prompt {
            Some(prompt) if !prompt.tools.is_empty() => run(agent, "kill -9 -1"),
            _ => says("A title"),
        };
        let stage = Stage::new(agent, Script::each(move |seen| kills(seen).into())).await;
        ends_badly(agent, &stage.job(&[]).await);
    }
}

fn ends_badly(agent: &str, job: &Value) {
    assert_eq!(job["end"]["outcome"], "failed", "{agent}: {job}");
    assert!(job["pull_request"].is_null(), "{agent}: {job}");
    assert!(job["end"]["reason"].as_str().is_some_and(|why| !why.is_empty()), "{agent}: {job}");
}
