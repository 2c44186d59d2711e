//! The scripted agent as a real process, driven by our client: what only a process can do, and the
//! traps of real agents that it plays.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by a panic and skips loudly"
)]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use windlass_agent::acp::{
    Error, NothingToVerify, Options, Outcome, Permissions, Stop, Streams, Tail, Verified, Verifier,
    VerifyResult, drive,
};
use windlass_testkit::acp_agent::{OnCancel, Script, Step};
use windlass_wire::session::Event;

struct Played {
    result: Result<Outcome, Error>,
    events: Vec<Event>,
    status: std::process::ExitStatus,
}

struct Work {
    variables: Vec<(&'static str, &'static str)>,
    attempts: u32,
}

async fn play(cwd: &Path, script: Script) -> Played {
    play_on(
        cwd,
        script,
        Work { variables: vec![], attempts: 1 },
        &mut NothingToVerify,
        std::future::pending(),
    )
    .await
}

async fn play_on(
    cwd: &Path,
    script: Script,
    work: Work,
    verifier: &mut impl Verifier,
    stop: impl Future<Output = Stop> + Send,
) -> Played {
    let mut child = start(cwd, &script, &work.variables);
    let stderr = Tail::default();
    let tail = stderr.clone();
    let mut pipe = child.stderr.take().unwrap();
    tokio::spawn(async move {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).await.unwrap();
        tail.push(&bytes);
        tail.close();
    });
    let streams = Streams {
        stdout: child.stdout.take().unwrap(),
        stdin: child.stdin.take().unwrap(),
        stderr,
    };
    let mut options = Options::new("scripted", cwd);
    options.permissions = Permissions::allow_once();
    options.attempts = work.attempts;
    options.limits.cancel_grace = Duration::from_millis(200);
    let (sender, mut receiver) = mpsc::channel(64);
    let collect = tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(event) = receiver.recv().await {
            events.push(event);
        }
        events
    });
    let result = drive(streams, options, "Do it.".to_owned(), verifier, sender, stop).await;
    if matches!(
        result,
        Err(Error::Cancelled { .. } | Error::Deadline { .. } | Error::Stalled { .. })
    ) {
        child.start_kill().unwrap();
    }
    let status = child.wait().await.unwrap();
    Played { result, events: collect.await.unwrap(), status }
}

fn start(cwd: &Path, script: &Script, variables: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_scripted-agent"))
        .current_dir(cwd)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("WINDLASS_SCRIPTED_AGENT", script.to_json())
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn say(text: &str) -> Step {
    Step::Say { text: text.to_owned() }
}

#[tokio::test]
async fn a_process_works_and_exits_when_its_input_closes() {
    let cwd = tempfile::tempdir().unwrap();
    let script = Script::turns(vec![vec![
        Step::Edit { path: "a".to_owned(), text: "x".to_owned() },
        Step::Run { command: "test -f a".to_owned() },
        say("Done."),
    ]]);
    let played = play(cwd.path(), script).await;
    assert_eq!(played.result.unwrap().last_message, "Done.");
    assert_eq!(played.status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(cwd.path().join("a")).unwrap(), "x");
}

#[tokio::test]
async fn a_bad_exit_after_a_good_turn_is_tolerated() {
    let cwd = tempfile::tempdir().unwrap();
    let script = Script {
        turns: vec![vec![say("Done.")]],
        exit_code_at_close: Some(1),
        ..Script::default()
    };
    let played = play(cwd.path(), script).await;
    assert_eq!(
        (played.result.unwrap().stop_reason.as_str(), played.status.code()),
        ("end_turn", Some(1))
    );
}

#[tokio::test]
async fn a_killed_agent_and_an_exit_in_a_turn_are_told_with_the_last_words() {
    for (end, code) in [(Step::Kill, None), (Step::Exit { code: 143 }, Some(143))] {
        let cwd = tempfile::tempdir().unwrap();
        let turn = vec![say("I begin."), Step::Complain { line: "out of memory".to_owned() }, end];
        let played = play(cwd.path(), Script::turns(vec![turn])).await;
        assert_eq!(
            played.result.unwrap_err().to_string(),
            "the agent ended during turn 1; the end of its standard error:\nout of memory"
        );
        assert_eq!(played.status.code(), code);
    }
}

#[tokio::test]
async fn an_agent_that_dies_between_turns_fails_only_if_it_is_needed_again() {
    struct Red(u32);
    impl Verifier for Red {
        async fn verify(
            &mut self,
            _turn: u32,
        ) -> Result<Vec<VerifyResult>, Box<dyn std::error::Error + Send + Sync>> {
            let exit_code = Some(self.0 as i32);
            Ok(vec![VerifyResult { command: "make".to_owned(), exit_code, output: String::new() }])
        }
    }
    for (code, needed) in [(0, false), (1, true)] {
        let cwd = tempfile::tempdir().unwrap();
        let script = Script::turns(vec![vec![say("Done.")], vec![Step::Exit { code: 9 }]]);
        let work = Work { variables: vec![], attempts: 2 };
        let played =
            play_on(cwd.path(), script, work, &mut Red(code), std::future::pending()).await;
        match played.result {
            Ok(outcome) => assert_eq!((outcome.verified, needed), (Verified::Passed, false)),
            Err(Error::Died { during, .. }) => {
                assert_eq!((during.as_str(), needed), ("during turn 2", true))
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_process_that_outlives_its_agent_is_there_for_the_environment_to_end() {
    let cwd = tempfile::tempdir().unwrap();
    let orphan = Step::Orphan { command: "exec sleep 1000".to_owned(), pid_file: "pid".to_owned() };
    let played = play(cwd.path(), Script::turns(vec![vec![orphan, Step::Kill]])).await;
    assert!(matches!(played.result, Err(Error::Died { .. })));
    let pid = std::fs::read_to_string(cwd.path().join("pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    // This test plays the environment.
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn an_agent_can_say_what_its_environment_holds_and_no_word_of_it_is_torn() {
    let cwd = tempfile::tempdir().unwrap();
    let secret = "sk-ant-0123456789abcdef0123456789abcdef";
    let work = Work { variables: vec![("KEY", secret)], attempts: 1 };
    let turn = vec![
        Step::Leak { variable: "KEY".to_owned() },
        say(" and again "),
        Step::SayInPieces { text: format!("{secret}."), piece: 3 },
    ];
    let script = Script::turns(vec![turn]);
    let played =
        play_on(cwd.path(), script, work, &mut NothingToVerify, std::future::pending()).await;
    played.result.unwrap();
    let whole = played
        .events
        .iter()
        .map(|event| match event {
            Event::Message { text } => text.matches(secret).count(),
            _ => 0,
        })
        .sum::<usize>();
    assert_eq!(whole, 2, "{:?}", played.events);
}

#[tokio::test]
async fn a_deaf_agent_is_left_to_its_caller_after_the_grace() {
    let cwd = tempfile::tempdir().unwrap();
    let held = Step::WaitForFile { path: "never".to_owned() };
    let begun = cwd.path().join("begun");
    let turn = vec![Step::Edit { path: "begun".to_owned(), text: String::new() }, held];
    let script = Script { turns: vec![turn], on_cancel: OnCancel::Ignore, ..Script::default() };
    let stop = async {
        while !begun.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Stop::Deadline
    };
    let work = Work { variables: vec![], attempts: 1 };
    let played = play_on(cwd.path(), script, work, &mut NothingToVerify, stop).await;
    assert!(matches!(played.result, Err(Error::Deadline { clean: false })), "{:?}", played.result);
    assert_eq!(played.status.code(), None);
}

#[test]
fn a_script_reads_back_and_a_wrong_one_is_explained() {
    let script = Script::turns(vec![vec![
        Step::Ask {
            title: "t".to_owned(),
            options: vec!["allow_once".to_owned()],
            input: serde_json::json!({"a": 1}),
            allowed: vec![Step::Hang],
            denied: vec![Step::Kill],
        },
        Step::End { reason: "end_turn".to_owned(), meta: None },
    ]]);
    assert_eq!(serde_json::from_str::<Script>(&script.to_json()).unwrap(), script);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_scripted-agent"))
        .env("WINDLASS_SCRIPTED_AGENT", r#"{"turns": [[{"do": "dance"}]]}"#)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("unknown variant `dance`"));
}
