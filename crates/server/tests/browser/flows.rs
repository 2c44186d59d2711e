//! A person's whole way through the pages, in a browser, on the real server: the script is the person,
//! this is the runner.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::ChildStdout,
    sync::Notify,
};
use windlass_run::{
    StepId,
    job::{Report, StepResult},
};
use windlass_wire::{
    runner::{Content, Piece, StreamRequest},
    session::{Entry, Event, ToolKind, ToolStatus},
};

use super::{
    house::{House, commit},
    scripted_runner::{Held, Runner},
};

#[path = "tools.rs"]
pub(crate) mod tools;

const TEST: &str = "a_person_goes_from_sign_in_to_merge";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_goes_from_sign_in_to_merge() {
    let Some(tools) = tools::Tools::find(TEST) else { return };
    let house = House::new().await;
    house.project("shop").await;
    let link = house.handle().sign_in_link(true).await.expect("a link").expect("a link");
    let pictures = tools.pictures();
    let mut command = tools.script("flows.mjs");
    command.arg(&link).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut person =
        tokio::process::Command::from(command).kill_on_drop(true).spawn().expect("node starts");
    let said = BufReader::new(person.stdout.take().expect("its output")).lines();
    let runner = Runner::register(&house).await;
    let go_on = Notify::new();
    let said = tokio::select! {
        said = listen(said, &go_on) => said,
        () = play_all(&house, &runner, &go_on) => unreachable!("the runner plays until the end"),
    };
    let status = person.wait().await.expect("it ends");
    assert!(status.success(), "see {}:\n{said}", pictures.display());
}

/// What the person says, to the end. Tells the runner when to go on.
async fn listen(mut lines: Lines<BufReader<ChildStdout>>, go_on: &Notify) -> String {
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.expect("the output is text") {
        if line == "go on" {
            go_on.notify_one();
        }
        said.push_str(&line);
        said.push('\n');
    }
    said
}

/// Plays every job that comes, until nobody waits for it any more.
async fn play_all(house: &House, runner: &Runner<'_>, go_on: &Notify) {
    let greetings = ["hello dear\nworld\n", "hi\nworld\n", "hi\nworld\nbye\n"];
    let mut greetings = greetings.into_iter();
    loop {
        let leases = runner.lease_within(5_000).await;
        let Some(lease) = leases.into_iter().next() else { continue };
        let mut held = Held { lease, last: 0 };
        if held.lease.title == "Wait for nobody" {
            stop_when_asked(house, runner, &mut held).await;
            continue;
        }
        let greeting = greetings.next().expect("as many greetings as jobs");
        play(runner, &mut held, greeting, go_on).await;
    }
}

async fn stop_when_asked(house: &House, runner: &Runner<'_>, held: &mut Held) {
    runner.report(held, vec![Report::StepStarted { step_id: agent() }]).await;
    let job_id = held.lease.job_id.to_string();
    house.wait_for(&job_id, |event| event["event"] == "cancel_requested").await;
    let end = windlass_run::job::End {
        outcome: windlass_run::job::Outcome::Cancelled,
        code: "cancelled".to_owned(),
        reason: "Somebody asked it to stop: It was only a test".to_owned(),
        give_up: None,
    };
    runner.report(held, vec![Report::Ended(end)]).await;
}

fn agent() -> StepId {
    StepId::parse("agent").expect("a step")
}

async fn play(runner: &Runner<'_>, held: &mut Held, greeting: &str, go_on: &Notify) {
    let folder = tempfile::tempdir().expect("tempdir");
    let (tree, base) = runner.clone(held, folder.path());
    let begun = vec![Report::Base { commit: base }, Report::StepStarted { step_id: agent() }];
    runner.report(held, begun).await;
    let opening = opening();
    let next = u64::try_from(opening.len()).expect("few") + 1;
    send_session(runner, held, 1, opening).await;
    // "ok" in green, then plain text.
    let log = Content::Log { offset: 0, base64: "G1szMm1vaxtbMG0gYWxsIGdvb2QK".to_owned() };
    send(runner, held, log).await;
    if greeting.starts_with("hello dear") {
        go_on.notified().await;
    }
    send_session(runner, held, next, closing()).await;
    std::fs::write(tree.join("greeting.txt"), greeting).expect("written");
    let head = commit(&tree, "The agent's work");
    let result = StepResult::succeeded(Some(head.clone()));
    runner.report(held, vec![Report::StepEnded { step_id: agent(), result }]).await;
    runner.publish(held, &tree, &head).await;
}

async fn send_session(runner: &Runner<'_>, held: &Held, first: u64, events: Vec<Event>) {
    let entries = events.into_iter().zip(first..).map(|(event, seq)| Entry {
        seq,
        at: windlass_server::clock::system()().as_micros(),
        event,
    });
    send(runner, held, Content::Session { entries: entries.collect() }).await;
}

async fn send(runner: &Runner<'_>, held: &Held, content: Content) {
    let piece = Piece {
        job_id: held.lease.job_id.clone(),
        epoch: held.lease.epoch,
        step_id: agent(),
        attempt: 1,
        content,
    };
    let request = StreamRequest { runner_id: runner.id.clone(), pieces: vec![piece] };
    runner.post("streams", &request).await;
}

fn opening() -> Vec<Event> {
    let text = |text: &str| text.to_owned();
    let long = "It is a long thought.\n\n".repeat(40);
    vec![
        Event::Started {
            agent: text("builtin"),
            version: None,
            mode: Some(text("full")),
            model: None,
            scripted: true,
        },
        Event::Prompt { text: text("Greet more warmly"), turn: 1 },
        Event::Message { text: text("I will make the greeting ") },
        Event::Message {
            text: text(
                "warmer. <script>owned = 1</script> <img src=x onerror=\"owned = 1\"> \u{202e}evil",
            ),
        },
        Event::Message { text: format!("\n\n{long}") },
        Event::ToolCall {
            id: text("1"),
            title: text("cat greeting.txt"),
            kind: ToolKind::Execute,
            input: serde_json::json!({ "command": "cat greeting.txt" }),
        },
        Event::ToolUpdate {
            id: text("1"),
            status: ToolStatus::Completed,
            output: Some(text("hello\nworld")),
            diffs: Vec::new(),
        },
    ]
}

fn closing() -> Vec<Event> {
    vec![
        Event::Verify {
            command: "cat greeting.txt".to_owned(),
            exit_code: Some(0),
            output: "hello dear".to_owned(),
        },
        Event::Message { text: "The last word.".to_owned() },
        Event::TurnEnded { stop_reason: "end_turn".to_owned() },
    ]
}

#[test]
fn a_terminals_screen_is_what_programs_mean_and_no_noise_breaks_it() {
    let test = "a_terminals_screen_is_what_programs_mean_and_no_noise_breaks_it";
    let Some(tools) = tools::Tools::find(test) else { return };
    let screen = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/screen.js");
    let output = tools.script("screen.mjs").arg(screen).output().expect("node starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
