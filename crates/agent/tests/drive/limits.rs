//! Bounds: floods, long lines, many requests, slow readers.

use serde_json::json;
use tokio::sync::mpsc;
use windlass_agent::acp::{NothingToVerify, drive};
use windlass_testkit::acp_agent::{Script, Step};
use windlass_wire::session::Event;

use super::stage::*;

fn chunk(text: &str) -> serde_json::Value {
    json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}})
}

#[tokio::test]
async fn a_flood_of_pieces_is_joined_into_few_events() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let flood = Step::Flood { update: chunk("word "), times: 20_000 };
    let script = Script::turns(vec![vec![flood]]);
    let played =
        play_on(agent(script, ""), options, &mut NothingToVerify, std::future::pending()).await;
    let texts: Vec<&str> = played
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Message { text } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert!(texts.len() < 50, "{} events", texts.len());
    assert_eq!(texts.concat(), "word ".repeat(20_000));
}

#[tokio::test]
async fn a_flood_of_tool_output_keeps_the_newest() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let update = |n: u64| {
        json!({"sessionUpdate": "tool_call_update", "toolCallId": "t", "status": "in_progress",
        "content": [{"type": "content", "content": {"type": "text", "text": format!("line {n}")}}]})
    };
    let mut turn: Vec<Step> = (0..1000).map(|n| Step::Update { update: update(n) }).collect();
    turn.push(say("Done."));
    let script = Script::turns(vec![turn]);
    let played =
        play_on(agent(script, ""), options, &mut NothingToVerify, std::future::pending()).await;
    let outputs: Vec<_> = played
        .events
        .iter()
        .filter_map(|event| match event {
            Event::ToolUpdate { output, .. } => output.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(outputs, vec!["line 999"]);
}

#[tokio::test]
async fn a_flood_of_events_ends_the_step() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.limits.events = 500;
    let plan = json!({"sessionUpdate": "plan", "entries": []});
    let script = Script::turns(vec![vec![Step::Flood { update: plan, times: 1_000_000 }]]);
    let played =
        play_on(agent(script, ""), options, &mut NothingToVerify, std::future::pending()).await;
    assert_eq!(played.error(), "the agent sent too much: more than 500 events");
}

#[tokio::test]
async fn a_flood_of_requests_ends_the_step() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.limits.requests = 100;
    let request = json!({"jsonrpc": "2.0", "id": 7, "method": "fs/read_text_file", "params": {"sessionId": "s", "path": "/x"}});
    let turn = (0..200).map(|_| Step::Print { line: request.to_string() }).collect();
    let script = Script::turns(vec![turn]);
    let played =
        play_on(agent(script, ""), options, &mut NothingToVerify, std::future::pending()).await;
    assert_eq!(played.error(), "the agent sent too much: more than 100 requests");
}

#[tokio::test]
async fn a_line_without_an_end_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.limits.line = 1024 * 1024;
    let bytes = vec![b'x'; 3 * 1024 * 1024];
    let played =
        play_on(parrot(&bytes), options, &mut NothingToVerify, std::future::pending()).await;
    let error = played.error();
    assert!(error.contains("a line is longer than 1048576 bytes"), "{error}");
    assert!(error.len() < 1000);
}

#[tokio::test]
async fn a_slow_reader_holds_the_agent_up_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, mut receiver) = mpsc::channel(1);
    let plan = json!({"sessionUpdate": "plan", "entries": []});
    let turn = vec![Step::Flood { update: plan, times: 5000 }, say("Done.")];
    let streams = agent(Script::turns(vec![turn]), "");
    let options = options(directory.path());
    let step = tokio::spawn(async move {
        drive(
            streams,
            options,
            "Do it.".to_owned(),
            &mut NothingToVerify,
            sender,
            std::future::pending(),
        )
        .await
    });
    let mut plans = 0;
    while let Some(event) = receiver.recv().await {
        if matches!(event, Event::Plan { .. }) {
            plans += 1;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(plans, 5000);
    assert_eq!(step.await.unwrap().unwrap().last_message, "Done.");
}

#[test]
fn a_step_can_be_driven_by_a_task() {
    fn is_send<T: Send>(_: &T) {}
    let (sender, _receiver) = mpsc::channel(1);
    let (stdout, stdin) = tokio::io::duplex(1);
    let streams = windlass_agent::acp::Streams {
        stdout,
        stdin,
        stderr: windlass_agent::acp::Tail::default(),
    };
    let options = options(std::path::Path::new("/repo"));
    let mut verifier = NothingToVerify;
    is_send(&drive(streams, options, String::new(), &mut verifier, sender, std::future::pending()));
}
