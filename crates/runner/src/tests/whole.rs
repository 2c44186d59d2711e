//! Whole jobs in real environments, on a real repository over smart HTTP, with scripted agents.

use std::{
    path::{Path, PathBuf},
    process::Command as Process,
    sync::OnceLock,
    time::Duration,
};

use windlass_git::{Git, Repository};
use windlass_run::{
    JobId,
    actor::By,
    job::{Cancel, Command, End, Outcome, Phase},
    spec::{Action, AgentAction, Mode, PullRequestAction, Step},
};
use windlass_sandbox::{Bind, Demand, Layer, Layers};
use windlass_testkit::{
    acp_agent::{self, Script, Step as Do},
    model_server::{self, ModelServer},
};
use windlass_wire::session::Event;

use super::{
    protocol::options,
    world::{CREDENTIAL, World, now, run_step, step},
};
use crate::{Options, Provider, Runner, Secret};

/// A world with a repository, and a runner's folder.
pub(super) struct Stage {
    pub(super) world: World,
    origin: Repository,
    dir: tempfile::TempDir,
}

impl Stage {
    /// The repository holds `sum.sh`, which adds wrongly, and `check.sh`, which says so.
    pub(super) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// The same with further files.
    pub(super) async fn with(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let seed = dir.path().join("seed");
        std::fs::create_dir_all(&seed).expect("made");
        std::fs::write(seed.join("sum.sh"), "echo $(($1 - $2))\n").expect("written");
        std::fs::write(
            seed.join("check.sh"),
            "test \"$(sh sum.sh 2 3)\" = 5 || { echo it is not 5; exit 1; }\n",
        )
        .expect("written");
        std::fs::write(seed.join("AGENTS.md"), "Add, never subtract.\n").expect("written");
        for (path, text) in files {
            let path = seed.join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        git(&seed, &["init", "-q", "-b", "main"]);
        git(&seed, &["add", "."]);
        git(&seed, &["commit", "-q", "-m", "A sum"]);
        let bare = dir.path().join("origin.git");
        git(dir.path(), &["clone", "-q", "--bare", "seed", "origin.git"]);
        let origin = Git::default().open(&bare).expect("a repository");
        let world = World::new().await;
        world.serve(origin.clone());
        Self { world, origin, dir }
    }

    pub(super) fn world(&self) -> &World {
        &self.world
    }

    /// The runner's folder.
    pub(super) fn state(&self) -> PathBuf {
        self.dir.path().join("runner")
    }

    /// Changes a file of the repository.
    pub(super) fn commit(&self, path: &str, text: impl AsRef<[u8]>) {
        let seed = self.dir.path().join("seed");
        std::fs::write(seed.join(path), text).expect("written");
        git(&seed, &["add", "."]);
        git(&seed, &["commit", "-q", "-m", "A change"]);
        git(&seed, &["push", "-q", "../origin.git", "main"]);
    }

    /// Adds a symbolic link to the repository.
    pub(super) fn commit_link(&self, path: &str, target: &str) {
        let seed = self.dir.path().join("seed");
        std::os::unix::fs::symlink(target, seed.join(path)).expect("linked");
        git(&seed, &["add", "."]);
        git(&seed, &["commit", "-q", "-m", "A link"]);
        git(&seed, &["push", "-q", "../origin.git", "main"]);
    }

    pub(super) fn options(&self) -> Options {
        whole_options(self.dir.path(), self.world.url())
    }

    fn scripts(&self) -> PathBuf {
        self.dir.path().join("scripts")
    }

    async fn runner(&self) -> Runner {
        Runner::start(self.options()).await.expect("a runner")
    }

    /// An agent step that plays the script.
    pub(super) fn agent(&self, id: &str, script: &Script) -> Step {
        std::fs::create_dir_all(self.scripts()).expect("made");
        std::fs::write(self.scripts().join(format!("{id}.json")), script.to_json())
            .expect("written");
        let action = AgentAction {
            prompt: "Make the sum right.".into(),
            harness: format!("custom: /opt/testkit/agent --script /opt/testkit/scripts/{id}.json"),
            model: None,
            mode: Mode::Full,
            verify: vec![],
            attempts: 3,
            replay: None,
        };
        step(id, Action::Agent(action))
    }

    pub(super) async fn end(&self, steps: Vec<Step>) -> (JobId, End) {
        self.end_with(&|options| options, steps).await
    }

    /// The same with other options.
    pub(super) async fn end_with(
        &self,
        change: &dyn Fn(Options) -> Options,
        steps: Vec<Step>,
    ) -> (JobId, End) {
        let runner = Runner::start(change(self.options())).await.expect("a runner");
        let job_id = self.world.add(steps);
        let end = self.world.ended(&job_id).await;
        runner.stop(Duration::from_secs(30)).await;
        self.nothing_is_left();
        (job_id, end)
    }

    /// No environment, work tree, job repository or lease is left, and no supervisor.
    pub(super) fn nothing_is_left(&self) {
        let state = self.dir.path().join("runner");
        for folder in ["trees", "repositories", "leases", "environments/environments"] {
            let left: Vec<_> =
                std::fs::read_dir(state.join(folder)).into_iter().flatten().flatten().collect();
            assert!(left.is_empty(), "{folder}: {left:?}");
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("readable");
        assert!(!mounts.contains(state.to_str().expect("text")), "{mounts}");
    }

    /// What a file holds at the end of a branch.
    pub(super) async fn file(&self, branch: &str, path: &str) -> String {
        let commit = self.origin.resolve(branch).await.expect("a branch");
        let path = windlass_git::RepoPath::parse(path).expect("a path");
        let bytes = self.origin.read_file(&commit, &path, 1 << 20).await.expect("a file");
        String::from_utf8(bytes).expect("text")
    }
}

/// Options for real environments, in which scripted agents and their scripts can be seen.
fn whole_options(dir: &Path, url: &str) -> Options {
    let mut options = options(url, &dir.join("runner"));
    options.null_executor = false;
    options.supervisor_argv = [
        "sh".into(),
        "-c".into(),
        "exec \"$0\" serve \"$1\" 30".into(),
        supervisor().into_os_string(),
    ]
    .into();
    // Any program will do: these jobs don't start the built-in agent.
    options.windlass_exe = PathBuf::from("/bin/true");
    let bind = |host: PathBuf, inside: &str| Bind { host, inside: inside.into(), optional: false };
    let scripts = dir.join("scripts");
    std::fs::create_dir_all(&scripts).expect("made");
    options.binds = vec![
        bind(acp_agent::binary(), "/opt/testkit/agent"),
        bind(scripts, "/opt/testkit/scripts"),
    ];
    options
}

fn git(dir: &Path, arguments: &[&str]) {
    let status = Process::new("git")
        .args([
            "-c",
            "user.name=Ada",
            "-c",
            "user.email=ada@example.org",
            "-c",
            "commit.gpgSign=false",
        ])
        .args(arguments)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .status()
        .expect("git can be started");
    assert!(status.success(), "git {arguments:?}");
}

/// The supervisor as a program, built if this build has not made it yet.
fn supervisor() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let test = std::env::current_exe().expect("a running test has a path");
            let profile = test.ancestors().nth(2).expect("a test lies in a target directory");
            let target = profile.parent().expect("a profile lies in a target directory");
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut command = Process::new(cargo);
            command.args([
                "build",
                "--quiet",
                "-p",
                "windlass-sandbox",
                "--bin",
                "windlass-environments",
            ]);
            if profile.ends_with("release") {
                command.arg("--release");
            }
            let status = command
                .arg("--target-dir")
                .arg(target)
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .status()
                .expect("cargo can be started");
            assert!(status.success(), "cargo failed to build the supervisor");
            profile.join("windlass-environments")
        })
        .clone()
}

fn fix() -> Do {
    Do::Edit { path: "sum.sh".to_owned(), text: "echo $(($1 + $2))\n".to_owned() }
}

fn pull_request() -> Step {
    step("publish", Action::PullRequest(PullRequestAction::default()))
}

pub(super) fn with(mut step: Step, change: impl FnOnce(&mut AgentAction)) -> Step {
    let Action::Agent(action) = &mut step.action else { panic!("an agent step was expected") };
    change(action);
    step
}

#[tokio::test]
async fn a_task_becomes_a_pull_request_with_what_the_work_tree_holds() {
    let stage = Stage::new().await;
    let script = Script::turns(vec![vec![fix(), Do::Say { text: "It adds now.".to_owned() }]]);
    let agent =
        with(stage.agent("fix", &script), |action| action.verify = vec!["sh check.sh".into()]);
    let (job_id, end) = stage
        .end(vec![run_step("look", "ls; echo out; echo err >&2"), agent, pull_request()])
        .await;
    assert_eq!((end.outcome, end.code.as_str()), (Outcome::Succeeded, "done"), "{end:?}");
    let branch = format!("windlass/{job_id}");
    assert_eq!(stage.file(&branch, "sum.sh").await, "echo $(($1 + $2))\n");
    let [opened] = stage.world.pull_requests().try_into().expect("one pull request");
    assert_eq!(
        (opened.base.as_str(), opened.head.as_str(), opened.title.as_str()),
        ("main", branch.as_str(), "Do it")
    );
    assert!(opened.body.contains("- Verified with `sh check.sh`: passed"), "{}", opened.body);
    assert!(opened.body.contains("```text\nIt adds now.\n```"), "{}", opened.body);
    assert_eq!(stage.world.pushed(), [format!("refs/heads/{branch}")]);
    let log = stage.world.log(&job_id, "look", 1);
    assert_eq!(log, "AGENTS.md\ncheck.sh\nsum.sh\nout\nerr\n");
    let patch = stage.world.upload(&job_id, "diffs/fix").expect("a patch");
    assert!(String::from_utf8_lossy(&patch).contains("+echo $(($1 + $2))"));
    let session = stage.world.session(&job_id, "fix", 1);
    let Some(Event::Prompt { text, .. }) =
        session.iter().find(|event| matches!(event, Event::Prompt { .. }))
    else {
        panic!("{session:?}");
    };
    assert!(
        text.contains("Make the sum right.") && text.contains("Add, never subtract."),
        "{text}"
    );
    assert!(
        session.iter().any(|event| matches!(event, Event::Verify { exit_code: Some(0), .. })),
        "{session:?}"
    );
    assert!(
        matches!(session.last(), Some(Event::TurnEnded { .. } | Event::Verify { .. })),
        "{session:?}"
    );
}

#[tokio::test]
async fn a_command_that_fails_ends_the_job_with_the_end_of_its_output() {
    let stage = Stage::new().await;
    let (_, end) =
        stage.end(vec![run_step("check", "echo first; sh check.sh"), pull_request()]).await;
    assert_eq!(end.code, "step_failed");
    assert_eq!(
        end.reason,
        "Step `check` failed: `echo first; sh check.sh` exited with 1. The end of its output:\nfirst\nit is not 5"
    );
    assert!(stage.world.pull_requests().is_empty());
}

#[tokio::test]
async fn a_job_that_changes_nothing_ends_well_and_opens_nothing() {
    let stage = Stage::new().await;
    let (_, end) = stage.end(vec![run_step("look", "touch sum.sh"), pull_request()]).await;
    assert_eq!((end.outcome, end.code.as_str()), (Outcome::Succeeded, "no_change"));
    assert_eq!((stage.world.pushed(), stage.world.pull_requests()), (vec![], vec![]));
}

#[tokio::test]
async fn an_agent_whose_work_stays_red_fails_with_what_was_red() {
    let stage = Stage::new().await;
    let wrong = || vec![Do::Edit { path: "sum.sh".to_owned(), text: "echo 6\n".to_owned() }];
    let script = Script::turns(vec![wrong(), wrong()]);
    let agent = with(stage.agent("fix", &script), |action| {
        action.verify = vec!["sh check.sh".into()];
        action.attempts = 2;
    });
    let (_, end) = stage.end(vec![agent, pull_request()]).await;
    assert_eq!(end.code, "verify_failed");
    assert_eq!(
        end.reason,
        "Step `fix` failed: After 2 turns of the agent these commands did not pass:\n`sh check.sh` (exit 1):\nit is not 5."
    );
}

#[tokio::test]
async fn feedback_from_a_red_command_lets_the_agent_mend_its_work() {
    let stage = Stage::new().await;
    let script = Script::turns(vec![vec![Do::Say { text: "Done.".to_owned() }], vec![fix()]]);
    let agent =
        with(stage.agent("fix", &script), |action| action.verify = vec!["sh check.sh".into()]);
    let (job_id, end) = stage.end(vec![agent, pull_request()]).await;
    assert_eq!(end.code, "done", "{end:?}");
    assert_eq!(stage.file(&format!("windlass/{job_id}"), "sum.sh").await, "echo $(($1 + $2))\n");
}

#[tokio::test]
async fn an_agent_that_gives_up_ends_the_job_with_its_report() {
    let stage = Stage::new().await;
    let report = windlass_wire::session::GiveUp {
        tried: vec!["thinking".to_owned()],
        stopped_because: "subtraction is sacred".to_owned(),
        would_unblock: "a decision".to_owned(),
    };
    let text = windlass_agent::give_up::block(&report);
    let script = Script::turns(vec![vec![Do::Say { text }]]);
    let (_, end) = stage.end(vec![stage.agent("fix", &script), pull_request()]).await;
    assert_eq!((end.outcome, end.code.as_str()), (Outcome::GaveUp, "agent_gave_up"));
    assert_eq!(end.reason, "The agent gave up: subtraction is sacred What would help: a decision");
}

#[tokio::test]
async fn an_agent_that_dies_or_prints_garbage_fails_with_the_reason() {
    let stage = Stage::new().await;
    let runner = stage.runner().await;
    let dies = stage.agent("dies", &Script::turns(vec![vec![Do::Kill]]));
    let job_id = stage.world.add(vec![dies]);
    let end = stage.world.ended(&job_id).await;
    assert_eq!(end.code, "agent_failed", "{end:?}");
    assert!(end.reason.contains("during turn 1"), "{}", end.reason);
    let mut garbage = stage.agent("garbage", &Script::default());
    garbage = with(garbage, |action| action.harness = "custom: yes garbage".to_owned());
    let job_id = stage.world.add(vec![garbage]);
    let end = stage.world.ended(&job_id).await;
    assert_eq!(end.code, "agent_failed", "{end:?}");
    assert!(end.reason.contains("does not speak ACP"), "{}", end.reason);
    runner.stop(Duration::from_secs(30)).await;
    stage.nothing_is_left();
}

#[tokio::test]
async fn an_agent_that_never_ends_is_stopped_at_the_steps_time_limit() {
    let stage = Stage::new().await;
    let mut agent = stage.agent("slow", &Script::turns(vec![vec![Do::Hang]]));
    agent.timeout = windlass_run::Duration::from_secs(2);
    let (_, end) = stage.end(vec![agent]).await;
    assert_eq!(end.code, "timeout", "{end:?}");
}

#[tokio::test]
async fn a_command_that_never_ends_is_stopped_at_its_time_limit_with_all_it_started() {
    let stage = Stage::new().await;
    let mut run = run_step("slow", "echo begun; (setsid sleep 1000 &) ; sleep 1000");
    run.timeout = windlass_run::Duration::from_secs(1);
    let (_, end) = stage.end(vec![run]).await;
    assert_eq!(end.code, "timeout");
    assert!(
        end.reason
            .ends_with("did not end within its 1 s and was stopped. The end of its output:\nbegun"),
        "{}",
        end.reason
    );
}

#[tokio::test]
async fn a_cancelled_agent_stops_and_leaves_nothing() {
    let stage = Stage::new().await;
    let runner = stage.runner().await;
    let script = Script::turns(vec![vec![Do::Say { text: "Working.".to_owned() }, Do::Hang]]);
    let job_id = stage.world.add(vec![stage.agent("fix", &script), pull_request()]);
    stage.world.until_session(&job_id, "fix", |event| matches!(event, Event::Message { .. })).await;
    let cancel = Cancel { by: By::system("test"), reason: "enough".to_owned(), at: now() };
    stage.world.command(&job_id, &Command::Cancel(cancel)).expect("legal");
    let end = stage.world.ended(&job_id).await;
    assert_eq!(end.outcome, Outcome::Cancelled);
    runner.stop(Duration::from_secs(30)).await;
    stage.nothing_is_left();
}

#[tokio::test]
async fn no_secret_is_inside_and_one_that_gets_into_a_log_is_redacted() {
    let stage = Stage::new().await;
    let leak = format!("env; cat .git/config; echo leaked {CREDENTIAL}");
    let (job_id, end) = stage.end(vec![run_step("leak", &leak)]).await;
    assert_eq!(end.code, "done", "{end:?}");
    let log = stage.world.log(&job_id, "leak", 1);
    assert!(log.contains("leaked [redacted:repository-credential]"), "{log}");
    // Once where the command prints it: nothing else inside had it.
    assert_eq!(log.matches("[redacted").count(), 1, "{log}");
    assert!(!log.contains(CREDENTIAL));
}

#[tokio::test]
async fn a_change_that_holds_a_credential_is_not_pushed() {
    let stage = Stage::new().await;
    let (_, end) = stage
        .end(vec![run_step("leak", &format!("echo {CREDENTIAL} > key.txt")), pull_request()])
        .await;
    assert_eq!((end.code.as_str(), stage.world.pushed()), ("secret_in_change", vec![]), "{end:?}");
}

#[tokio::test]
async fn an_unknown_agent_and_one_that_is_not_installed_say_what_to_do() {
    let stage = Stage::new().await;
    let runner = stage.runner().await;
    let reason = async |harness: &str| {
        let step = with(stage.agent("fix", &Script::default()), |action| {
            action.harness = harness.to_owned()
        });
        stage.world.ended(&stage.world.add(vec![step])).await
    };
    let unknown = reason("claude").await;
    assert_eq!(unknown.code, "unknown_agent");
    assert!(
        unknown.reason.starts_with("No agent is called `claude`; use builtin, claude-code,"),
        "{}",
        unknown.reason
    );
    let missing = reason("codex").await;
    assert_eq!(
        (missing.code.as_str(), missing.reason.as_str()),
        (
            "agent_missing",
            "The agent `codex` is not installed on this runner. Install it with `windlass agents install codex`."
        )
    );
    runner.stop(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn a_missing_branch_says_so() {
    let stage = Stage::new().await;
    let runner = stage.runner().await;
    let job_id = stage
        .world
        .add_spec(vec![run_step("look", "ls")], |spec| spec.target.base = "release".to_owned());
    let end = stage.world.ended(&job_id).await;
    assert_eq!(end.code, "branch_missing");
    assert!(end.reason.contains("has no branch `release`"), "{}", end.reason);
    runner.stop(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn a_killed_runners_job_goes_on_from_its_last_checkpoint_and_pushes_once() {
    let stage = Stage::new().await;
    let runner = stage.runner().await;
    let script = Script::turns(vec![vec![fix()]]);
    let gate = "test -e /opt/testkit/scripts/open && exit 0; echo waiting; sleep 1000";
    let job_id = stage.world.add(vec![
        stage.agent("fix", &script),
        run_step("once", "echo x >> once.txt"),
        run_step("gate", gate),
        pull_request(),
    ]);
    stage.world.until_log(&job_id, "gate", 1, "waiting").await;
    runner.abandon().await;
    // The second runner goes on from the repository that the first one left.
    let runner = stage.runner().await;
    stage.world.until_log(&job_id, "gate", 2, "waiting").await;
    runner.abandon().await;
    // The third is on another machine: it has only what the server keeps.
    std::fs::remove_dir_all(stage.dir.path().join("runner/repositories")).expect("removed");
    std::fs::write(stage.scripts().join("open"), "").expect("written");
    let runner = stage.runner().await;
    let end = stage.world.ended(&job_id).await;
    assert_eq!(end.code, "done", "{end:?}");
    let attempts: Vec<_> =
        stage.world.state(&job_id).steps.iter().map(|step| step.attempts).collect();
    assert_eq!(attempts, [1, 1, 3, 1], "{:#?}", stage.world.journal(&job_id));
    let branch = format!("windlass/{job_id}");
    assert_eq!(stage.file(&branch, "once.txt").await, "x\n");
    assert_eq!(stage.file(&branch, "sum.sh").await, "echo $(($1 + $2))\n");
    assert_eq!((stage.world.pushed().len(), stage.world.pull_requests().len()), (1, 1));
    runner.stop(Duration::from_secs(30)).await;
    stage.nothing_is_left();
}

#[tokio::test]
async fn a_required_layer_that_is_missing_ends_the_job_with_the_remedy() {
    let stage = Stage::new().await;
    let mut options = stage.options();
    options.layers = Layers::default().with(Layer::DiskLimit, Demand::Required);
    options.limits.disk_bytes = Some(1 << 30);
    let runner = Runner::start(options).await.expect("a runner");
    let job_id = stage.world.add(vec![run_step("look", "ls")]);
    let end = stage.world.ended(&job_id).await;
    assert_eq!(end.code, "layer_missing");
    let start = "The environment was refused: the required layer `disk_limit` is missing: ";
    assert!(
        end.reason.starts_with(start) && end.reason.contains("; to fix it: "),
        "{}",
        end.reason
    );
    runner.stop(Duration::from_secs(30)).await;
    stage.nothing_is_left();
}

/// Asks the model door as an agent's program would, with nothing but bash.
fn ask_model() -> Do {
    let request = r#"{"model":"m","max_tokens":50,"messages":[{"role":"user","content":"hello"}]}"#;
    let command = format!(
        "bash -c 'exec 3<>/dev/tcp/127.0.0.1/47101; printf \"POST /anthropic/v1/messages HTTP/1.1\\r\\nHost: door\\r\\n\
         x-api-key: mine\\r\\ncontent-type: application/json\\r\\ncontent-length: {}\\r\\nconnection: close\\r\\n\\r\\n%s\" \"$0\" >&3; \
         cat <&3' '{request}'",
        request.len()
    );
    Do::Run { command }
}

/// A runner with a model provider that was given this key, and what the provider saw.
async fn with_provider(stage: &Stage) -> (Runner, ModelServer) {
    let model =
        ModelServer::start(model_server::Script::each(|_| model_server::says("hello").into()))
            .await;
    let model = model.expect("a model server");
    let mut options = stage.options();
    let key = Some(Secret::new("the-real-key-of-the-provider"));
    options.providers.anthropic = Some(Provider { base_url: Some(model.url()), key });
    (Runner::start(options).await.expect("a runner"), model)
}

#[tokio::test]
async fn calls_through_the_model_door_are_counted_and_carry_the_runners_key() {
    let stage = Stage::new().await;
    let (runner, model) = with_provider(&stage).await;
    let script = Script::turns(vec![vec![ask_model(), ask_model(), fix()]]);
    let job_id = stage.world.add(vec![stage.agent("fix", &script), pull_request()]);
    let end = stage.world.ended(&job_id).await;
    assert_eq!(end.code, "done", "{end:?}");
    let session = stage.world.session(&job_id, "fix", 1);
    let usage = session.iter().rev().find_map(|event| match event {
        Event::Usage { input_tokens, output_tokens, cached_tokens, calls } => {
            Some((input_tokens + output_tokens + cached_tokens, *calls))
        }
        _ => None,
    });
    let tokens = stage.world.state(&job_id).tokens;
    assert!(tokens > 0);
    assert_eq!(usage, Some((tokens, 2)));
    let seen = model.calls();
    assert_eq!(seen.len(), 2);
    let keys: Vec<_> =
        seen.iter().map(|call| call.headers["x-api-key"].to_str().expect("text")).collect();
    assert_eq!(keys, ["the-real-key-of-the-provider"; 2]);
    runner.stop(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn a_job_that_would_pass_its_token_limit_is_stopped_before_it_does() {
    let stage = Stage::new().await;
    let (runner, model) = with_provider(&stage).await;
    let script =
        Script::turns(vec![vec![ask_model(), Do::Say { text: "I stop here.".to_owned() }]]);
    let step = stage.agent("fix", &script);
    let job_id =
        stage.world.add_spec(vec![step, pull_request()], |spec| spec.limits.tokens = Some(20));
    let end = stage.world.ended(&job_id).await;
    assert_eq!((end.code.as_str(), model.calls().len()), ("tokens", 0), "{end:?}");
    assert!(end.reason.contains("raise `limits.tokens`"), "{}", end.reason);
    runner.stop(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn a_runner_killed_again_and_again_loses_no_job_and_pushes_each_change_once() {
    let stage = Stage::new().await;
    let jobs: Vec<JobId> = (0..3)
        .map(|n| {
            let script = Script::turns(vec![vec![fix(), Do::Say { text: format!("Job {n}.") }]]);
            let agent = with(stage.agent(&format!("fix{n}"), &script), |action| {
                action.verify = vec!["sh check.sh".into()];
            });
            stage.world.add(vec![run_step("before", "echo x >> once.txt"), agent, pull_request()])
        })
        .collect();
    let mut last = 0;
    for kill in 0..6u64 {
        let mut process = stage.process();
        let enough = last + 1 + kill % 4;
        let over =
            || jobs.iter().all(|job_id| matches!(stage.world.state(job_id).phase, Phase::Ended(_)));
        stage
            .world
            .until(&jobs[0], |_| (stage.world.n_reports() >= enough || over()).then_some(()))
            .await;
        last = stage.world.n_reports();
        process.kill().expect("killed");
        process.wait().expect("waited for");
    }
    let runner = stage.runner().await;
    for job_id in &jobs {
        let end = stage.world.ended(job_id).await;
        assert_eq!(end.code, "done", "{end:?}");
        let branch = format!("windlass/{job_id}");
        assert_eq!(stage.file(&branch, "once.txt").await, "x\n");
        let pushes = stage
            .world
            .pushed()
            .into_iter()
            .filter(|name| *name == format!("refs/heads/{branch}"))
            .count();
        assert_eq!(pushes, 1);
        let opened =
            stage.world.pull_requests().into_iter().filter(|opened| opened.head == branch).count();
        assert_eq!(opened, 1);
    }
    runner.stop(Duration::from_secs(30)).await;
    stage.nothing_is_left();
}

impl Stage {
    /// A runner in a process of its own, to be killed.
    pub(super) fn process(&self) -> std::process::Child {
        self.process_with(&[])
    }

    /// The same with variables that say what it works with: `WINDLASS_TEST_ENGINE`, the socket of a
    /// container engine, `WINDLASS_TEST_REGISTRY`, a registry that it may ask.
    pub(super) fn process_with(&self, variables: &[(&str, &str)]) -> std::process::Child {
        let mut command = Process::new(std::env::current_exe().expect("a running test has a path"));
        command
            .args(["--exact", "tests::whole::a_runner_as_a_process", "--ignored", "--nocapture"])
            .env("WINDLASS_TEST_URL", self.world.url())
            .env("WINDLASS_TEST_DIR", self.dir.path())
            .envs(variables.iter().copied())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null());
        command.spawn().expect("a process")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "not a test: the process that the kill test starts and kills"]
async fn a_runner_as_a_process() {
    let variable = |name: &str| std::env::var(name).ok();
    let (Some(url), Some(dir)) = (variable("WINDLASS_TEST_URL"), variable("WINDLASS_TEST_DIR"))
    else {
        return;
    };
    let mut options = whole_options(Path::new(&dir), &url);
    options.environments = 32;
    if let Some(socket) = variable("WINDLASS_TEST_ENGINE") {
        options.backend = crate::definition::BackendKind::Oci;
        options.engine_socket = socket.into();
        options.windlass_exe = super::images::first_process();
    }
    options.registries.extend(variable("WINDLASS_TEST_REGISTRY").map(|host| (host, None)));
    let _runner = Runner::start(options).await.expect("a runner");
    // A test that failed closes our input: nobody else would end this process.
    let mut nothing = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut tokio::io::stdin(), &mut nothing).await;
}
