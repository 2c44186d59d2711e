//! Real agents from npm, installed by `install`, driven by `acp` against a scripted model on
//! loopback. They need npm and its registry, and several hundred megabytes, so they run only when
//! `WINDLASS_TEST_SOAK=1` is set. `WINDLASS_AGENT_CACHE` names a directory to keep the installs in,
//! `WINDLASS_TEST_AGENTS` a list of other agents to try (such as `opencode,gemini,qwen`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by a panic, skips loudly, and is steered by variables"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use windlass_agent::acp::{
    Error, Limits, Model, ModelWatch, NothingToVerify, Options, Outcome, Permissions, Stop,
    Streams, Tail, Verified, Verifier, VerifyResult, check, drive,
};
use windlass_agent::install::{self, HostNpm};
use windlass_agent::known::{self, Agent, Mode, ModelDoor};
use windlass_testkit::model_server::{
    Answer, Fault, ModelServer, Reply, Script, Seen, calls, says,
};
use windlass_wire::session::{Event, PermissionDecision};

const MODEL: &str = "scripted-model";

/// The agents to try; none, and a loud word, when the soak was not asked for.
fn agents() -> Vec<&'static Agent> {
    if std::env::var("WINDLASS_TEST_SOAK").as_deref() != Ok("1") {
        eprintln!(
            "SKIPPED real_agents: needs npm, its registry and 2 GB: set WINDLASS_TEST_SOAK=1"
        );
        return Vec::new();
    }
    let names = std::env::var("WINDLASS_TEST_AGENTS")
        .unwrap_or("claude-code,codex,codex-native".to_owned());
    names
        .split(',')
        .map(|name| known::find(name).unwrap_or_else(|| panic!("no agent is called {name}")))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_agent_edits_a_file_runs_the_tests_and_corrects_itself() {
    for agent in agents() {
        let stage = Stage::new(agent, Mode::Full, |hands, seen| work(hands, seen).into()).await;
        let mut verifier = RunTests { repository: stage.repository() };
        let played = stage.play(&mut verifier, 3, std::future::pending()).await;
        let outcome = played.outcome(agent);
        assert_eq!(outcome.stop_reason, "end_turn", "{}", agent.name);
        assert_eq!((outcome.turns, &outcome.verified), (2, &Verified::Passed), "{}", agent.name);
        let text = std::fs::read_to_string(stage.repository().join("answer.txt")).unwrap();
        assert_eq!(text.trim(), "42", "{}", agent.name);
        let tells = agent.name != "gemini";
        assert!(!tells || played.printed("the tests pass"), "{}: {:#?}", agent.name, played.events);
        assert!(outcome.last_message.contains("All done."), "{}: {outcome:?}", agent.name);
        eprintln!(
            "{}: {} events, {} model calls",
            agent.name,
            played.events.len(),
            stage.server.calls().len()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_api_ends_the_step_with_a_reason() {
    for agent in agents() {
        for status in [500, 401, 400] {
            let stage = Stage::new(agent, Mode::Full, move |_, _| {
                let message = "the model door said no".to_owned();
                Answer::Fault(Fault::Status { status, message, retry_after: None })
            })
            .await;
            let played = stage.play(&mut NothingToVerify, 1, std::future::pending()).await;
            match &played.result {
                Err(Error::ModelFailed(_) | Error::Agent { .. } | Error::SignIn(_)) => {}
                other => panic!("{} with {status}: {other:?}", agent.name),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_stream_ends_the_step_with_a_reason() {
    for agent in agents() {
        let stage = Stage::new(agent, Mode::Full, |_, _| {
            Answer::Fault(Fault::Cut { reply: says("I begin."), after: 1 })
        })
        .await;
        let played = stage.play(&mut NothingToVerify, 1, std::future::pending()).await;
        match &played.result {
            Err(Error::ModelFailed(_) | Error::Agent { .. }) => {}
            other => panic!("{}: {other:?}", agent.name),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_tool_is_seen_although_the_agent_says_that_it_is_done() {
    for agent in agents() {
        // Codex asks only in its own sandbox, which does not work in every place; it may fail there
        // without a question, and the file must not be written in either case.
        let mut stage = Stage::new(agent, Mode::Ask, |hands, seen| work(hands, seen).into()).await;
        stage.permissions = Permissions::deny_all("the test denies everything");
        let played = stage.play(&mut NothingToVerify, 1, std::future::pending()).await;
        assert!(!stage.repository().join("answer.txt").exists(), "{}", agent.name);
        let denials = played
            .events
            .iter()
            .filter(|event| {
                matches!(event, Event::Permission { decision: PermissionDecision::Denied, .. })
            })
            .count();
        match &played.result {
            Ok(outcome) => assert_eq!(outcome.denied as usize, denials, "{}", agent.name),
            Err(error) => panic!("{}: {error}", agent.name),
        }
        eprintln!("{}: {denials} denials", agent.name);
        if agent.name == "claude-code" {
            assert!(denials > 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_agent_ends_its_turn_and_a_killed_one_is_noticed() {
    for agent in agents() {
        let held = || Answer::Fault(Fault::Held { reply: says("I think."), after: 1 });
        let stage = Stage::new(agent, Mode::Full, move |_, _| held()).await;
        let stop = async {
            stage.server.wait_for(1).await;
            Stop::Cancelled
        };
        let played = stage.play(&mut NothingToVerify, 1, stop).await;
        match &played.result {
            Err(Error::Cancelled { clean }) => assert!(clean, "{}", agent.name),
            other => panic!("{}: {other:?}", agent.name),
        }

        let stage = Stage::new(agent, Mode::Full, move |_, _| held()).await;
        let played = stage.play_and_kill().await;
        match &played.result {
            Err(Error::Died { .. }) => {}
            other => panic!("{}: {other:?}", agent.name),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_names_the_modes_that_the_table_names() {
    for agent in agents() {
        let stage = Stage::new(agent, Mode::Full, |_, _| says("Hello.").into()).await;
        let (mut child, streams) = stage.spawn();
        let introduction = check(streams, &stage.repository(), Limits::default()).await.unwrap();
        child.kill().await.unwrap();
        eprintln!("{}: {introduction:?}", agent.name);
        for id in
            [Mode::Ask, Mode::Auto, Mode::Full].iter().filter_map(|mode| agent.modes.id(*mode))
        {
            assert!(
                introduction.modes.iter().any(|mode| mode == id),
                "{}: {id} of {introduction:?}",
                agent.name
            );
        }
    }
}

/// How an agent's tools are called.
#[derive(Clone)]
struct Hands {
    agent: &'static str,
    repository: PathBuf,
}

impl Hands {
    fn write(&self, text: &str) -> Reply {
        let path = self.repository.join("answer.txt");
        match self.agent {
            "claude-code" => {
                // It refuses to write over a file that it has not read.
                let command = format!("printf '%s' '{text}' > answer.txt");
                calls("Editing.", "Bash", json!({"command": command, "description": "write"}))
            }
            "opencode" => calls("Editing.", "write", json!({"filePath": path, "content": text})),
            "gemini" | "qwen" => {
                calls("Editing.", "write_file", json!({"file_path": path, "content": text}))
            }
            _ => self.run(&format!("printf '%s' '{text}' > answer.txt")),
        }
    }

    fn first_write(&self, text: &str) -> Reply {
        let path = self.repository.join("answer.txt");
        match self.agent {
            "claude-code" => {
                calls("Editing.", "Write", json!({"file_path": path, "content": text}))
            }
            _ => self.write(text),
        }
    }

    fn run(&self, command: &str) -> Reply {
        let (tool, input): (&str, Value) = match self.agent {
            "claude-code" => ("Bash", json!({"command": command, "description": "test"})),
            "opencode" => ("bash", json!({"command": command, "description": "test"})),
            "gemini" => ("run_shell_command", json!({"command": command})),
            "qwen" => ("run_shell_command", json!({"command": command, "is_background": false})),
            _ => ("exec_command", json!({"cmd": command})),
        };
        calls("", tool, input)
    }
}

/// A model that answers wrongly at first, and rightly when it is told that the tests fail.
fn work(hands: &Hands, seen: &Seen) -> Reply {
    let Some(prompt) = &seen.prompt else { return says("A title") };
    if prompt.tools.is_empty() {
        return says("A title");
    }
    match prompt.answers {
        0 => hands.first_write("41"),
        1 => hands.run("sh test.sh"),
        2 => says("All done, surely."),
        3 => hands.write("42"),
        4 => hands.run("sh test.sh"),
        _ => says("All done."),
    }
}

/// Runs the repository's test.
struct RunTests {
    repository: PathBuf,
}

impl Verifier for RunTests {
    async fn verify(
        &mut self,
        _turn: u32,
    ) -> Result<Vec<VerifyResult>, Box<dyn std::error::Error + Send + Sync>> {
        let output =
            Command::new("sh").arg("test.sh").current_dir(&self.repository).output().await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(vec![VerifyResult {
            command: "sh test.sh".to_owned(),
            exit_code: output.status.code(),
            output: text,
        }])
    }
}

/// A repository, a home, a model, and an agent that is installed.
struct Stage {
    agent: &'static Agent,
    directory: tempfile::TempDir,
    installed: PathBuf,
    server: ModelServer,
    failure: Arc<Mutex<Option<String>>>,
    permissions: Permissions,
    mode: Mode,
}

struct Played {
    result: Result<Outcome, Error>,
    events: Vec<Event>,
}

impl Played {
    fn outcome(&self, agent: &Agent) -> &Outcome {
        match &self.result {
            Ok(outcome) => outcome,
            Err(error) => panic!("{}: {error}\n{:#?}", agent.name, self.events),
        }
    }

    fn printed(&self, text: &str) -> bool {
        self.events.iter().any(|event| {
            matches!(event, Event::ToolUpdate { output: Some(output), .. } if output.contains(text))
        })
    }
}

struct Watch(Arc<Mutex<Option<String>>>);

impl ModelWatch for Watch {
    fn last_failure(&self) -> Option<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Stage {
    async fn new(
        agent: &'static Agent,
        mode: Mode,
        mut answer: impl FnMut(&Hands, &Seen) -> Answer + Send + 'static,
    ) -> Self {
        let installed = install_root();
        install(agent, &installed).await;
        // Not under the temporary directory: Codex minds (a trap that `known` names).
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for name in ["repository", "home", "tmp"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let repository = directory.path().join("repository");
        let test = "if [ \"$(cat answer.txt)\" = 42 ]; then echo the tests pass; else echo wrong answer; exit 1; fi\n";
        std::fs::write(repository.join("test.sh"), test).unwrap();
        let git = std::process::Command::new("git")
            .args(["init", "-q", "."])
            .current_dir(&repository)
            .status();
        assert!(git.unwrap().success());
        let failure: Arc<Mutex<Option<String>>> = Arc::default();
        let hands = Hands { agent: agent.name, repository };
        let seen_failure = failure.clone();
        let server = ModelServer::start(Script::each(move |seen| {
            let answer = answer(&hands, seen);
            *seen_failure.lock().unwrap() = match &answer {
                Answer::Fault(Fault::Status { status, .. }) => {
                    Some(format!("answered with {status}"))
                }
                Answer::Fault(Fault::Cut { .. }) => Some("the stream was cut".to_owned()),
                Answer::Fault(_) | Answer::Reply(_) => None,
            };
            answer
        }))
        .await
        .unwrap();
        let permissions = Permissions::allow_once();
        Self { agent, directory, installed, server, failure, permissions, mode }
    }

    fn repository(&self) -> PathBuf {
        self.directory.path().join("repository")
    }

    /// Starts the agent as a plain process with the environment that `known` says and nothing else.
    fn spawn(&self) -> (Child, Streams<ChildStdout, ChildStdin>) {
        let url = self.server.url();
        let door = ModelDoor { anthropic: url.clone(), openai: format!("{url}/v1"), gemini: url };
        let environment = self.agent.environment(&door, Some(MODEL), self.mode);
        let home = self.directory.path().join("home");
        for file in &environment.files {
            let path = home.join(&file.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &file.text).unwrap();
        }
        let version = self.agent.package.unwrap().version;
        let command = self.agent.command(&self.installed, version);
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .current_dir(self.repository())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &home)
            .env("TMPDIR", self.directory.path().join("tmp"))
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .envs(environment.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stderr = Tail::default();
        let tail = stderr.clone();
        let mut pipe = child.stderr.take().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(n) = pipe.read(&mut buffer).await {
                if n == 0 {
                    break;
                }
                tail.push(&buffer[..n]);
            }
            tail.close();
        });
        let streams = Streams {
            stdout: child.stdout.take().unwrap(),
            stdin: child.stdin.take().unwrap(),
            stderr,
        };
        (child, streams)
    }

    fn options(&self, attempts: u32) -> Options {
        let mut options = Options::new(self.agent.name, self.repository());
        options.mode = self.agent.modes.id(self.mode).map(str::to_owned);
        options.model = Some(Model::InEnvironment(MODEL.to_owned()));
        options.permissions = self.permissions.clone();
        options.attempts = attempts;
        options.model_watch = Some(Arc::new(Watch(self.failure.clone())));
        options.limits.quiet = Duration::from_secs(120);
        options.limits.quiet_in_tool = Duration::from_secs(120);
        options
    }

    async fn play(
        &self,
        verifier: &mut impl Verifier,
        attempts: u32,
        stop: impl Future<Output = Stop> + Send,
    ) -> Played {
        let (mut child, streams) = self.spawn();
        let played = self.drive(streams, verifier, attempts, stop).await;
        // However it exits: an agent may exit badly after a good turn.
        let _ = child.kill().await;
        played
    }

    /// Kills the process group as soon as the model was called.
    async fn play_and_kill(&self) -> Played {
        let (mut child, streams) = self.spawn();
        let group =
            rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        let kill = async {
            self.server.wait_for(1).await;
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        };
        let mut verifier = NothingToVerify;
        let step = self.drive(streams, &mut verifier, 1, std::future::pending());
        let (played, ()) = tokio::join!(step, kill);
        let _ = child.wait().await;
        played
    }

    async fn drive(
        &self,
        streams: Streams<ChildStdout, ChildStdin>,
        verifier: &mut impl Verifier,
        attempts: u32,
        stop: impl Future<Output = Stop> + Send,
    ) -> Played {
        let (sender, mut receiver) = mpsc::channel(64);
        let collect = tokio::spawn(async move {
            let mut events = Vec::new();
            while let Some(event) = receiver.recv().await {
                events.push(event);
            }
            events
        });
        let prompt = "Write the answer into answer.txt and run `sh test.sh`.".to_owned();
        let result = drive(streams, self.options(attempts), prompt, verifier, sender, stop).await;
        Played { result, events: collect.await.unwrap() }
    }
}

fn install_root() -> PathBuf {
    match std::env::var_os("WINDLASS_AGENT_CACHE") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("agents"),
    }
}

/// Installs what is not there; the tests of this file take turns.
async fn install(agent: &Agent, root: &Path) {
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = ONE_AT_A_TIME.lock().await;
    let plan = install::plan(agent, agent.package.unwrap().version, root).unwrap();
    let environment = install::environment(std::env::vars());
    let mut npm = HostNpm { program: "npm".into(), environment, limit: Duration::from_secs(1200) };
    let installed =
        install::carry_out(&plan, &mut npm, |step| eprintln!("{}: {step:?}", agent.name)).await;
    assert_eq!(installed.unwrap().version, plan.version);
}
