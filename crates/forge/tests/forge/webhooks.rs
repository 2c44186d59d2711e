//! Every payload that GitHub publishes as an example arrives as an event.

use std::collections::BTreeMap;
use std::path::Path;

use windlass_forge::event::Subject;
use windlass_forge::hosts::github::webhook::parse;

#[test]
fn all_published_example_payloads_are_read_and_those_we_use_are_understood() {
    let needs = "all_published_example_payloads_are_read_and_those_we_use_are_understood";
    let Some(file) = windlass_testkit::github::published::file(
        needs,
        "@octokit/webhooks-examples@7.6.1",
        "package/api.github.com/index.json",
        Path::new(env!("CARGO_TARGET_TMPDIR")),
    ) else {
        return;
    };
    let published: serde_json::Value =
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut understood: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for event in published.as_array().unwrap() {
        let name = event["name"].as_str().unwrap();
        for example in event["examples"].as_array().unwrap() {
            let read = parse(name, example.to_string().as_bytes()).unwrap();
            assert_eq!(read.action.as_deref(), example["action"].as_str(), "{name}");
            assert_eq!(read.actor.is_some(), example["sender"].is_object(), "{name}: {example}");
            assert_eq!(
                read.repository.is_some(),
                example["repository"]["full_name"].is_string(),
                "{name}"
            );
            let counts = understood.entry(name.to_owned()).or_default();
            counts.0 += 1;
            counts.1 += usize::from(read.subject != Subject::Other);
            let text = serde_json::to_string(&read).unwrap();
            assert_eq!(
                serde_json::from_str::<windlass_forge::event::Event>(&text).unwrap(),
                read,
                "{name}"
            );
        }
    }
    let total: usize = understood.values().map(|(all, _)| all).sum();
    assert!(total >= 300, "only {total} examples were found");
    for name in [
        "ping",
        "push",
        "pull_request",
        "pull_request_review",
        "issue_comment",
        "pull_request_review_comment",
        "commit_comment",
        "issues",
        "check_run",
        "check_suite",
        "workflow_run",
        "workflow_job",
        "status",
    ] {
        let (all, read) = understood[name];
        assert!(all > 0 && all == read, "{name}: {read} of {all} were understood");
    }
}
