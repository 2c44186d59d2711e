//! A step that goes as it should: events, permissions, verification, giving up.

use serde_json::json;
use windlass_agent::acp::{Model, NothingToVerify, Permissions, Rule, Verified, check};
use windlass_testkit::acp_agent::{Script, Step};
use windlass_wire::session::{
    Event, FileDiff, GiveUp, PermissionDecision, PlanEntry, ToolKind, ToolStatus,
};

use super::stage::*;

#[tokio::test]
async fn a_turn_is_recorded_in_the_order_in_which_it_happened() {
    let directory = tempfile::tempdir().unwrap();
    let script = Script {
        modes: vec!["ask".to_owned(), "full".to_owned()],
        models: vec!["small".to_owned(), "large".to_owned()],
        turns: vec![vec![
            Step::Think { text: "First I look.".to_owned() },
            Step::Plan { entries: vec![("Look".to_owned(), "in_progress".to_owned())] },
            Step::Edit { path: "a.txt".to_owned(), text: "hello\n".to_owned() },
            Step::Run { command: "cat a.txt".to_owned() },
            say("Done."),
        ]],
        ..Script::default()
    };
    let mut options = options(directory.path());
    options.mode = Some("full".to_owned());
    options.model = Some(Model::Select("large".to_owned()));
    options.scripted = true;
    let played =
        play_on(agent(script, ""), options, &mut NothingToVerify, std::future::pending()).await;

    let path = directory.path().join("a.txt").display().to_string();
    assert_eq!(
        played.events,
        vec![
            Event::Started {
                agent: "scripted".to_owned(),
                version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                mode: Some("full".to_owned()),
                model: Some("large".to_owned()),
                scripted: true,
            },
            Event::Prompt { text: "Do it.".to_owned(), turn: 1 },
            Event::Thought { text: "First I look.".to_owned() },
            Event::Plan {
                entries: vec![PlanEntry {
                    text: "Look".to_owned(),
                    status: "in_progress".to_owned()
                }]
            },
            Event::ToolCall {
                id: "call-1".to_owned(),
                title: "Edit a.txt".to_owned(),
                kind: ToolKind::Edit,
                input: json!({"path": "a.txt"}),
            },
            Event::ToolUpdate {
                id: "call-1".to_owned(),
                status: ToolStatus::Completed,
                output: None,
                diffs: vec![FileDiff { path, old: None, new: "hello\n".to_owned() }],
            },
            Event::ToolCall {
                id: "call-2".to_owned(),
                title: "cat a.txt".to_owned(),
                kind: ToolKind::Execute,
                input: json!({"command": "cat a.txt"}),
            },
            Event::ToolUpdate {
                id: "call-2".to_owned(),
                status: ToolStatus::Completed,
                output: Some("hello\n".to_owned()),
                diffs: vec![],
            },
            Event::Message { text: "Done.".to_owned() },
            Event::TurnEnded { stop_reason: "end_turn".to_owned() },
        ]
    );
    assert_eq!(played.outcome().last_message, "Done.");
    assert_eq!(played.outcome().verified, Verified::NotAsked);
}

#[tokio::test]
async fn red_verifiers_go_back_to_the_agent_until_they_are_green() {
    let directory = tempfile::tempdir().unwrap();
    let turns = vec![
        vec![say("Done!")],
        vec![Step::ExpectPrompt { holds: "assertion failed".to_owned() }, say("Really done.")],
    ];
    let mut verifier =
        Listed::new(vec![vec![verified(1, "assertion failed")], vec![verified(0, "ok")]]);
    let mut options = options(directory.path());
    options.attempts = 3;
    let played =
        play_on(agent(Script::turns(turns), ""), options, &mut verifier, std::future::pending())
            .await;

    let outcome = played.outcome();
    assert_eq!((outcome.turns, &outcome.verified), (2, &Verified::Passed));
    assert_eq!(outcome.last_message, "Really done.");
    assert_eq!(*verifier.asked.lock().unwrap(), vec![1, 2]);
    let verifies: Vec<_> = played
        .events
        .iter()
        .filter(|event| matches!(event, Event::Verify { .. }))
        .cloned()
        .collect();
    let verify = |exit_code, output: &str| Event::Verify {
        command: "make test".to_owned(),
        exit_code: Some(exit_code),
        output: output.to_owned(),
    };
    assert_eq!(verifies, vec![verify(1, "assertion failed"), verify(0, "ok")]);
}

#[tokio::test]
async fn verifiers_that_stay_red_end_the_step_with_what_they_said() {
    let directory = tempfile::tempdir().unwrap();
    let mut verifier = Listed::new(vec![vec![verified(1, "one")], vec![verified(1, "two")]]);
    let mut options = options(directory.path());
    options.attempts = 2;
    let script = Script::turns(vec![vec![say("Done!")], vec![say("Done!!")]]);
    let played = play_on(agent(script, ""), options, &mut verifier, std::future::pending()).await;
    assert_eq!(played.outcome().verified, Verified::Failed(vec![verified(1, "two")]));
}

#[tokio::test]
async fn a_verifier_that_cannot_run_ends_the_step() {
    let directory = tempfile::tempdir().unwrap();
    let mut verifier = Listed::new(vec![]);
    let script = Script::turns(vec![vec![say("Done!")]]);
    let played = play_on(
        agent(script, ""),
        options(directory.path()),
        &mut verifier,
        std::future::pending(),
    )
    .await;
    assert_eq!(played.error(), "a verify command could not be run: the environment is gone");
}

#[tokio::test]
async fn a_denied_tool_is_counted_although_the_agent_says_that_it_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let ask = |title: &str, allowed: Vec<Step>| Step::Ask {
        title: title.to_owned(),
        options: vec!["allow_always".to_owned(), "allow_once".to_owned(), "reject_once".to_owned()],
        input: json!({"command": title}),
        allowed,
        denied: vec![say("I was not allowed to. ")],
    };
    let write = Step::Edit { path: "made".to_owned(), text: "x".to_owned() };
    let script = Script::turns(vec![vec![
        ask("git push origin main", vec![]),
        ask("make", vec![write]),
        say("Fixed."),
    ]]);
    let mut options = options(directory.path());
    let rule = Rule {
        name: "no pushes".to_owned(),
        holds: Some("git push".to_owned()),
        ..Rule::default()
    };
    options.permissions = Permissions::allow_unless(vec![rule]);
    let played =
        play_on(agent(script, ""), options, &mut NothingToVerify, std::future::pending()).await;

    let asked: Vec<_> = played
        .events
        .iter()
        .filter(|event| matches!(event, Event::Permission { .. }))
        .cloned()
        .collect();
    assert_eq!(
        asked,
        vec![
            Event::Permission {
                tool_call: "call-1".to_owned(),
                title: "git push origin main".to_owned(),
                decision: PermissionDecision::Denied,
                reason: "denied by rule `no pushes`".to_owned(),
            },
            Event::Permission {
                tool_call: "call-2".to_owned(),
                title: "make".to_owned(),
                decision: PermissionDecision::Allowed,
                reason: "allowed unless a rule denies".to_owned(),
            },
        ]
    );
    let outcome = played.outcome();
    assert_eq!((outcome.stop_reason.as_str(), outcome.denied), ("end_turn", 1));
    assert!(directory.path().join("made").exists());
}

#[tokio::test]
async fn permission_for_ever_is_not_given_where_only_that_is_offered() {
    let script = Script::turns(vec![vec![Step::Ask {
        title: "rm".to_owned(),
        options: vec!["allow_always".to_owned()],
        input: json!(null),
        allowed: vec![say("allowed")],
        denied: vec![say("denied")],
    }]]);
    let directory = tempfile::tempdir().unwrap();
    let played = play_on(
        agent(script, ""),
        options(directory.path()),
        &mut NothingToVerify,
        std::future::pending(),
    )
    .await;
    assert_eq!((played.outcome().last_message.as_str(), played.outcome().denied), ("denied", 1));
}

#[tokio::test]
async fn an_agent_can_give_up_in_a_message_or_in_meta_and_is_not_asked_again() {
    let expected = GiveUp {
        tried: vec!["an upgrade".to_owned()],
        stopped_because: "no network".to_owned(),
        would_unblock: "a mirror".to_owned(),
    };
    let json = json!({"tried": ["an upgrade"], "stopped_because": "no network", "would_unblock": "a mirror"});
    let in_message = vec![Step::GiveUp { report: json.to_string() }];
    let in_meta = vec![
        say("I stop."),
        Step::End { reason: "end_turn".to_owned(), meta: Some(json!({"windlass.giveUp": json})) },
    ];
    for turn in [in_message, in_meta] {
        let directory = tempfile::tempdir().unwrap();
        let mut verifier = Listed::new(vec![]);
        let mut options = options(directory.path());
        options.attempts = 5;
        let script = Script::turns(vec![turn]);
        let played =
            play_on(agent(script, ""), options, &mut verifier, std::future::pending()).await;
        assert_eq!(played.outcome().gave_up, Some(expected.clone()));
        assert_eq!(played.outcome().verified, Verified::NotAsked);
        assert!(played.events.contains(&Event::GaveUp(expected.clone())));
    }
}

#[tokio::test]
async fn a_limit_of_the_agent_is_its_stop_reason() {
    for reason in ["max_tokens", "max_turn_requests", "refusal"] {
        let played = play(vec![vec![Step::End { reason: reason.to_owned(), meta: None }]]).await;
        assert_eq!(played.outcome().stop_reason, reason);
    }
}

#[tokio::test]
async fn an_agent_may_exit_badly_once_its_turn_ended() {
    let directory = tempfile::tempdir().unwrap();
    let script = Script {
        turns: vec![vec![say("Done.")]],
        exit_code_at_close: Some(1),
        ..Script::default()
    };
    let played = play_on(
        agent(script, ""),
        options(directory.path()),
        &mut NothingToVerify,
        std::future::pending(),
    )
    .await;
    assert_eq!(played.outcome().stop_reason, "end_turn");
}

#[tokio::test]
async fn a_check_says_who_the_agent_is_and_what_it_offers() {
    let script = Script {
        modes: vec!["ask".to_owned(), "full".to_owned()],
        models: vec!["small".to_owned()],
        at_start: vec![Step::Print { line: "Welcome!".to_owned() }],
        ..Script::default()
    };
    let limits = windlass_agent::acp::Limits::default();
    let introduction =
        check(agent(script, ""), std::path::Path::new("/repo"), limits).await.unwrap();
    assert_eq!(introduction.name.as_deref(), Some("scripted-agent"));
    assert_eq!(introduction.modes, vec!["ask", "full"]);
    assert_eq!(introduction.current_mode.as_deref(), Some("ask"));
    assert_eq!(introduction.models, vec!["small"]);
}
