//! Every payload that GitHub publishes as an example becomes an event of the one form, and says there
//! what it says in GitHub's.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;
use windlass_forge::{
    event::{Arrival, Event},
    hosts::github::webhook::parse,
};
use windlass_run::{EventId, Time, event};

/// Which family GitHub's events belong to, of those that the design names; all others are the host's.
const FAMILIES: &[(&str, &[&str])] = &[
    ("ping", &["ping"]),
    ("push", &["push", "tag"]),
    ("create", &["reference"]),
    ("delete", &["reference"]),
    ("pull_request", &["pull_request"]),
    ("pull_request_review", &["review"]),
    ("pull_request_review_thread", &["review"]),
    ("issue_comment", &["comment"]),
    ("pull_request_review_comment", &["comment"]),
    ("commit_comment", &["comment"]),
    ("discussion_comment", &["comment"]),
    ("issues", &["issue"]),
    ("check_run", &["check"]),
    ("check_suite", &["check"]),
    ("workflow_run", &["check"]),
    ("workflow_job", &["check"]),
    ("status", &["check"]),
    ("release", &["release"]),
];

#[test]
fn all_published_example_payloads_become_the_one_event_type() {
    let Some(file) = windlass_testkit::github::published::file(
        "all_published_example_payloads_become_the_one_event_type",
        "@octokit/webhooks-examples@7.6.1",
        "package/api.github.com/index.json",
        Path::new(env!("CARGO_TARGET_TMPDIR")),
    ) else {
        return;
    };
    let published: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut n_examples = 0;
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for group in published.as_array().unwrap() {
        let name = group["name"].as_str().unwrap();
        for example in group["examples"].as_array().unwrap() {
            n_examples += 1;
            let read = parse(name, example.to_string().as_bytes()).unwrap();
            let envelope = read.envelope(arrival(n_examples));
            let place = format!("{name} {n_examples}: {envelope:?}");
            agrees(name, example, &envelope, &place);
            let families = FAMILIES.iter().find(|(event, _)| *event == name);
            let families = families.map_or(&["github"][..], |(_, families)| families);
            assert!(families.contains(&envelope.family()), "{place}");
            assert!(!envelope.data.to_string().contains(r#""payload":null"#), "{place}");
            let again: Event = serde_json::from_value(envelope.data.clone()).unwrap();
            assert_eq!(again, read, "what is stored can be read again");
            *kinds.entry(envelope.kind).or_default() += 1;
        }
    }
    assert_eq!(n_examples, 329);
    for (kind, n) in [
        ("push", 2),
        ("tag", 1),
        ("tag.deleted", 4),
        ("reference.created", 5),
        ("pull_request.ready_for_review", 3),
        ("review.submitted", 3),
        ("review.dismissed", 1),
        ("review.thread_resolved", 2),
    ] {
        assert_eq!(kinds.get(kind), Some(&n), "{kind} in {kinds:?}");
    }
}

fn arrival(n: usize) -> Arrival {
    Arrival {
        id: EventId::new(Time::from_micros(1), n as u128),
        source: "github/acme/api".to_owned(),
        delivery: n.to_string(),
        at: Time::from_micros(1),
        project_id: None,
    }
}

/// Compares with the payload itself, by ways that have nothing in common with those that read it.
fn agrees(name: &str, raw: &Value, read: &event::Event, place: &str) {
    let data = &read.data;
    assert_eq!(data["forge"], "github", "{place}");
    assert_eq!(data["event"], name, "{place}");
    assert_eq!(data.get("action"), raw.get("action"), "{place}");
    assert_eq!(data.get("repository"), raw.pointer("/repository/full_name"), "{place}");
    assert_eq!(data.get("private"), raw.pointer("/repository/private"), "{place}");
    assert_eq!(data.get("label"), raw.pointer("/label/name"), "{place}");
    let actor = read.actor.as_ref();
    assert_eq!(
        actor.map(|actor| actor.name.as_str()),
        raw.pointer("/sender/login").and_then(Value::as_str),
        "{place}"
    );
    assert_eq!(
        actor.and_then(|actor| actor.id.clone()),
        raw.pointer("/sender/id").map(Value::to_string),
        "{place}"
    );
    let numbers = ["/pull_request/number", "/issue/number", "/discussion/number"];
    let number = numbers.iter().find_map(|pointer| raw.pointer(pointer));
    assert_eq!(data.get("number"), number, "{place}");
    agrees_inside(name, raw, read, place);
}

fn agrees_inside(name: &str, raw: &Value, read: &event::Event, place: &str) {
    let pairs: &[(&str, &str)] = match name {
        "push" => &[("/push/reference", "/ref"), ("/push/forced", "/forced")],
        "pull_request" => &[
            ("/pull_request/title", "/pull_request/title"),
            ("/pull_request/head", "/pull_request/head/ref"),
            ("/pull_request/base", "/pull_request/base/ref"),
            ("/pull_request/head_commit", "/pull_request/head/sha"),
            ("/pull_request/draft", "/pull_request/draft"),
        ],
        "pull_request_review" => {
            &[("/review/commit", "/review/commit_id"), ("/review/url", "/review/html_url")]
        }
        "issue_comment"
        | "pull_request_review_comment"
        | "commit_comment"
        | "discussion_comment" => {
            &[("/comment/body", "/comment/body"), ("/comment/id", "/comment/id")]
        }
        "issues" => &[("/issue/title", "/issue/title"), ("/issue/url", "/issue/html_url")],
        "check_run" => {
            &[("/check/name", "/check_run/name"), ("/check/commit", "/check_run/head_sha")]
        }
        "workflow_run" => &[("/check/branch", "/workflow_run/head_branch")],
        "status" => &[("/check/name", "/context"), ("/check/commit", "/sha")],
        "release" => {
            &[("/release/tag", "/release/tag_name"), ("/release/prerelease", "/release/prerelease")]
        }
        _ => &[],
    };
    for (ours, theirs) in pairs {
        assert_eq!(read.data.pointer(ours), raw.pointer(theirs), "{ours}: {place}");
    }
}

fn read(name: &str, payload: &str) -> event::Event {
    parse(name, payload.as_bytes()).unwrap().envelope(arrival(1))
}

#[test]
fn a_text_is_trusted_as_far_as_its_author_not_as_whoever_touched_it() {
    let issue = |association: &str| {
        let payload = format!(
            r#"{{"action":"labeled","label":{{"name":"agent"}},"sender":{{"login":"owner","id":1}},
            "issue":{{"number":4,"title":"t","state":"open"{association}}}}}"#
        );
        read("issues", &payload).trust
    };
    let of = |word: &str| issue(&format!(r#","author_association":"{word}""#));
    assert_eq!(of("OWNER"), event::Trust::Member);
    assert_eq!(of("COLLABORATOR"), event::Trust::Member);
    assert_eq!(of("CONTRIBUTOR"), event::Trust::Known);
    for word in ["NONE", "FIRST_TIMER", "MANNEQUIN", "a word of tomorrow"] {
        assert_eq!(of(word), event::Trust::Public, "{word}");
    }
    assert_eq!(issue(""), event::Trust::Public);
}

#[test]
fn a_check_of_a_fork_is_public() {
    let run = |head: u8| {
        let payload = format!(
            r#"{{"action":"completed","repository":{{"id":1}},"workflow_run":{{"name":"ci",
            "head_branch":"main","head_repository":{{"id":{head}}},"conclusion":"failure"}}}}"#
        );
        read("workflow_run", &payload).trust
    };
    assert_eq!((run(1), run(2)), (event::Trust::Member, event::Trust::Public));
    let suite = |branch: &str| {
        let payload =
            format!(r#"{{"action":"completed","check_suite":{{"head_branch":{branch}}}}}"#);
        read("check_suite", &payload).trust
    };
    assert_eq!((suite(r#""x""#), suite("null")), (event::Trust::Member, event::Trust::Public));
}

#[test]
fn a_closed_pull_request_that_was_merged_says_so_and_commands_are_data() {
    let closed = |merged: bool| {
        let payload = format!(
            r#"{{"action":"closed","pull_request":{{"number":3,"state":"closed","merged":{merged},
            "base":{{"ref":"main"}},"head":{{"ref":"work"}}}}}}"#
        );
        let read = read("pull_request", &payload);
        (read.kind, read.subject)
    };
    let about = Some("pull_request/3".to_owned());
    assert_eq!(closed(true), ("pull_request.merged".to_owned(), about.clone()));
    assert_eq!(closed(false), ("pull_request.closed".to_owned(), about));
    let comment = read(
        "issue_comment",
        r#"{"action":"created","issue":{"number":7},"comment":{"id":1,"author_association":"MEMBER",
        "body":"Please:\n/windlass fix this"}}"#,
    );
    assert_eq!(
        (comment.kind.as_str(), comment.subject.as_deref(), comment.trust),
        ("comment.created", Some("issue/7"), event::Trust::Member)
    );
    assert_eq!(
        comment.data["comment"]["commands"],
        serde_json::json!([{ "word": "windlass", "rest": "fix this" }])
    );
}

#[test]
fn what_a_host_calls_things_never_reaches_a_family_of_ours() {
    for (name, action, kind) in [
        ("watch", "started", "github.watch.started"),
        ("schedule", "", "github.schedule"),
        ("Sch.edule\n", "A b.c", "github.sch_edule_.a_b_c"),
        ("pull_request", "opened", "github.pull_request.opened"),
    ] {
        let payload = serde_json::json!({ "action": action }).to_string();
        assert_eq!(read(name, &payload).kind, kind);
    }
}

#[test]
fn a_payload_that_is_no_json_is_refused_with_the_place() {
    let refused = |payload: &str| parse("push", payload.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        refused("{\n  \"ref\": refs\n}"),
        "the payload is not JSON: expected value, line 2, column 10"
    );
    assert_eq!(refused("[]"), "the payload is an array where a JSON object is expected");
}
