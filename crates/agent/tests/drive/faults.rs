//! What each fault of an agent turns into.

use std::time::Duration;

use serde_json::json;
use windlass_agent::acp::{Error, NothingToVerify, Stop};
use windlass_testkit::acp_agent::{OnCancel, Script, Step};
use windlass_wire::session::{Event, PermissionDecision};

use super::stage::*;

async fn play_script(script: Script, stderr: &str) -> Played {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    play_on(agent(script, stderr), options, &mut NothingToVerify, std::future::pending()).await
}

#[tokio::test]
async fn an_agent_that_dies_in_a_turn_is_quoted() {
    let script = Script::turns(vec![vec![say("I begin."), Step::Exit { code: 1 }]]);
    let played = play_script(script, "thread 'main' panicked\n\x1b[31mout of luck").await;
    assert!(played.events.contains(&Event::Message { text: "I begin.".to_owned() }));
    assert_eq!(
        played.error(),
        "the agent ended during turn 1; the end of its standard error:\n\
         thread 'main' panicked\n\\u{1b}[31mout of luck"
    );
}

#[tokio::test]
async fn an_agent_that_never_starts_is_quoted() {
    let script = Script { at_start: vec![Step::Exit { code: 127 }], ..Script::default() };
    assert_eq!(
        play_script(script, "claude: not found").await.error(),
        "the agent ended before the handshake was done; the end of its standard error:\nclaude: not found"
    );
}

#[tokio::test]
async fn a_program_that_is_no_agent_is_named_by_its_first_line() {
    let script = Script {
        at_start: vec![
            Step::Print { line: "Usage: \x1b[1mtool\x1b[0m [FLAGS]".to_owned() },
            Step::Exit { code: 2 },
        ],
        ..Script::default()
    };
    assert_eq!(
        play_script(script, "").await.error(),
        "the agent ended before the handshake was done; the end of its standard error:\n(nothing)\n\
         (its standard output began with: Usage: \\u{1b}[1mtool\\u{1b}[0m [FLAGS])"
    );
}

#[tokio::test]
async fn some_garbage_is_tolerated_and_counted() {
    let turn = vec![
        Step::Print { line: "warning: deprecated".to_owned() },
        Step::PrintBytes { bytes: b"\xff\xfe\n\n   \n".to_vec() },
        Step::Print { line: "[1, 2]".to_owned() },
        Step::Print { line: "{\"id\": 1}".to_owned() },
        say("Done."),
    ];
    let played = play(vec![turn]).await;
    assert_eq!(
        (played.outcome().garbage_lines, played.outcome().last_message.as_str()),
        (4, "Done.")
    );
}

#[tokio::test]
async fn too_much_garbage_is_an_error_that_names_its_first_line() {
    let mut turn: Vec<Step> =
        (0..300).map(|n| Step::Print { line: format!("line {n}\u{202e}") }).collect();
    turn.push(say("Done."));
    assert_eq!(
        play(vec![turn]).await.error(),
        "the agent does not speak ACP on its standard output: more than 200 lines are no message; \
         the first such line: line 0\\u{202e}"
    );
}

#[tokio::test]
async fn an_answer_with_an_error_is_the_error_of_the_step() {
    let fail =
        Step::Fail { code: -32603, message: "API Error: 529 overloaded\nretry later".to_owned() };
    assert_eq!(
        play(vec![vec![fail]]).await.error(),
        "the agent answered session/prompt with error -32603: API Error: 529 overloaded\\nretry later"
    );
}

#[tokio::test]
async fn an_end_after_a_failed_call_of_the_model_is_no_end() {
    struct Door;
    impl windlass_agent::acp::ModelWatch for Door {
        fn last_failure(&self) -> Option<String> {
            Some("the last call was answered with 500".to_owned())
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.model_watch = Some(std::sync::Arc::new(Door));
    let script = Script::turns(vec![vec![say("We're currently experiencing high demand.")]]);
    let played =
        play_on(agent(script, ""), options, &mut NothingToVerify, std::future::pending()).await;
    assert!(played.events.contains(&Event::TurnEnded { stop_reason: "end_turn".to_owned() }));
    assert_eq!(
        played.error(),
        "the model could not be reached: the last call was answered with 500"
    );
}

#[tokio::test]
async fn an_agent_that_wants_a_sign_in_says_so() {
    let script = Script { sign_in: true, ..Script::default() };
    let played = play_script(script, "").await;
    assert!(matches!(played.result, Err(Error::SignIn(_))), "{:?}", played.result);
}

#[tokio::test]
async fn another_protocol_version_is_refused() {
    let script = Script { protocol_version: 2, ..Script::default() };
    let error = play_script(script, "").await.error();
    assert!(error.starts_with("the handshake with the agent failed: "), "{error}");
    assert!(error.contains("version 1") && error.contains('2'), "{error}");
}

#[tokio::test]
async fn a_mode_that_is_not_offered_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let script = Script { modes: vec!["plan".to_owned(), "ask".to_owned()], ..Script::default() };
    let mut options = options(directory.path());
    options.mode = Some("full".to_owned());
    let played =
        play_on(agent(script, ""), options, &mut NothingToVerify, std::future::pending()).await;
    assert_eq!(played.error(), "the agent offers no mode `full`; it offers: plan, ask");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_says_nothing_in_its_handshake_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let streams = parrot(b"Loading model...\n");
    let played =
        play_on(streams, options(directory.path()), &mut NothingToVerify, std::future::pending())
            .await;
    assert_eq!(
        played.error(),
        "the handshake with the agent failed: it was not finished within 120 s; \
         its standard output began with: Loading model..."
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_hangs_is_stalled_and_a_tool_call_may_take_longer() {
    let played = play(vec![vec![say("Hm."), Step::Hang]]).await;
    assert_eq!(played.error(), "the agent made no progress for 900 s during turn 1");
    let call = json!({"sessionUpdate": "tool_call", "toolCallId": "t", "title": "make", "status": "in_progress"});
    let played = play(vec![vec![Step::Update { update: call }, Step::Hang]]).await;
    assert_eq!(played.error(), "the agent made no progress for 3600 s during turn 1");
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_from_elsewhere_holds_off_the_stall() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let progress = options.progress.clone();
    let deadline = async move {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(600)).await;
            progress.touch();
        }
        Stop::Deadline
    };
    let script = Script::turns(vec![vec![Step::Hang]]);
    let played = play_on(agent(script, ""), options, &mut NothingToVerify, deadline).await;
    assert_eq!(played.error(), "the time limit passed");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_agent_gets_the_time_to_end_its_turn() {
    for (on_cancel, clean) in
        [(OnCancel::End, true), (OnCancel::Ignore, false), (OnCancel::Exit, false)]
    {
        let directory = tempfile::tempdir().unwrap();
        let script =
            Script { turns: vec![vec![say("Hm."), Step::Hang]], on_cancel, ..Script::default() };
        let stop = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Stop::Cancelled
        };
        let played =
            play_on(agent(script, ""), options(directory.path()), &mut NothingToVerify, stop).await;
        match played.result {
            Err(Error::Cancelled { clean: was }) => assert_eq!(was, clean, "{on_cancel:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_a_person_is_answered_when_the_step_is_cancelled() {
    struct Nobody;
    impl windlass_agent::acp::Decide for Nobody {
        fn decide(
            &self,
            _: windlass_agent::acp::Ask,
        ) -> futures::future::BoxFuture<'static, windlass_agent::acp::Answer> {
            Box::pin(std::future::pending())
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let script = Script {
        turns: vec![vec![Step::Ask {
            title: "make".to_owned(),
            options: vec!["allow_once".to_owned()],
            input: json!(null),
            allowed: vec![],
            denied: vec![say("Then not.")],
        }]],
        on_cancel: OnCancel::Ignore,
        ..Script::default()
    };
    let mut options = options(directory.path());
    options.permissions = windlass_agent::acp::Permissions::new(Nobody);
    let stop = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Stop::Cancelled
    };
    let played = play_on(agent(script, ""), options, &mut NothingToVerify, stop).await;
    assert!(matches!(played.result, Err(Error::Cancelled { clean: true })), "{:?}", played.result);
    let decisions: Vec<_> = played
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Permission { decision, .. } => Some(*decision),
            _ => None,
        })
        .collect();
    assert_eq!(decisions, vec![PermissionDecision::Cancelled]);
}

#[tokio::test]
async fn a_stop_before_the_handshake_needs_no_agent() {
    let directory = tempfile::tempdir().unwrap();
    let stop = std::future::ready(Stop::Cancelled);
    let played = play_on(parrot(b""), options(directory.path()), &mut NothingToVerify, stop).await;
    assert!(matches!(played.result, Err(Error::Cancelled { clean: true })));
}

#[tokio::test]
async fn a_step_ends_when_nobody_takes_its_events() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    drop(receiver);
    let streams = agent(Script::turns(vec![vec![say("Hm."), Step::Hang]]), "");
    let result = windlass_agent::acp::drive(
        streams,
        options(directory.path()),
        "Do it.".to_owned(),
        &mut NothingToVerify,
        sender,
        std::future::pending(),
    )
    .await;
    assert!(matches!(result, Err(Error::Events)), "{result:?}");
}

#[tokio::test]
async fn updates_that_are_not_understood_and_other_sessions_are_passed_over() {
    let script = Script::turns(vec![vec![
        Step::Update { update: json!({"sessionUpdate": "from_the_future", "x": 1}) },
        Step::Update { update: json!("no object") },
        Step::Print {
            line: json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "another",
                "update": {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "no"}}}})
            .to_string(),
        },
        Step::Print { line: json!({"jsonrpc": "2.0", "method": "_vendor/event", "params": {}}).to_string() },
        say("yes"),
    ]]);
    let played = play_script(script, "").await;
    assert_eq!(
        (played.outcome().last_message.as_str(), played.outcome().garbage_lines),
        ("yes", 0)
    );
}

#[tokio::test]
async fn what_is_said_before_the_first_prompt_is_not_recorded() {
    let script = Script {
        at_start: vec![say("[MODE_UPDATE] yolo")],
        turns: vec![vec![say("Done.")]],
        ..Script::default()
    };
    let played = play_script(script, "").await;
    assert!(matches!(played.events[0], Event::Started { .. }), "{:?}", played.events);
    assert_eq!(played.outcome().last_message, "Done.");
}
