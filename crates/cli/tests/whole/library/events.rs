//! Events as they come, and what the library's triggers make of them.

use std::fs;

use serde_json::{Value, json};

use super::library;
use crate::world::World;

/// A webhook of GitHub, read as the server would.
fn github(world: &World, event: &str, mut payload: Value) -> Value {
    payload["repository"] = json!({
        "full_name": "acme/api", "private": true, "default_branch": "main",
        "clone_url": "https://github.com/acme/api.git", "html_url": "https://github.com/acme/api",
    });
    payload["sender"] = json!({ "login": "ann", "id": 3, "type": "User" });
    fs::write(world.path("payload.json"), payload.to_string()).expect("written");
    world.json(&["event", "parse", "--forge", "github", "--event", event, "payload.json", "--json"])
}

/// An event of another source.
fn event(kind: &str, source: &str, data: Value) -> Value {
    json!({
        "id": "evt_00000000000000000000000001", "source": source, "delivery": "1", "type": kind,
        "time": 1, "trust": "member", "data": data,
    })
}

/// What an automation's triggers make of an event: the inputs of the first that starts something.
fn tried(world: &World, automation: &str, event: &Value) -> Result<Value, Value> {
    let path = world.path("event.json");
    fs::write(&path, event.to_string()).expect("written");
    let file = library().join(automation).join("automation.yaml");
    let file = file.to_str().expect("UTF-8");
    let path = path.to_str().expect("UTF-8");
    let answers = world.json(&["--json", "automation", "test", file, "--event", path]);
    let triggers = answers["triggers"].as_array().cloned().unwrap_or_default();
    match triggers.iter().find(|trigger| trigger["starts"] == true) {
        Some(starts) => Ok(starts["inputs"].clone()),
        None => Err(answers),
    }
}

#[test]
fn each_trigger_starts_with_the_inputs_of_a_real_event_and_stays_still_otherwise() {
    let world = World::new();
    for name in [
        "backlog-cleanup",
        "cve-remediation",
        "dependency-upgrades",
        "flaky-test-hunt",
        "licence-headers",
        "lint-debt",
        "weekly-report",
    ] {
        let fired = event("schedule", "schedule", json!({ "at": 1 }));
        tried(&world, name, &fired).unwrap_or_else(|answers| panic!("{name}: {answers}"));
        tried(&world, name, &event("tag", "local/api", json!({}))).expect_err(name);
    }
    let by_hand = event(
        "manual",
        "person",
        json!({ "inputs": { "kind": "framework", "from": "a", "to": "b", "old": "a" } }),
    );
    assert_eq!(tried(&world, "large-migration", &by_hand).expect("starts")["check"], "make test");

    let advisory = |severity: &str| {
        let data =
            json!({ "id": "GHSA-1", "severity": severity, "ecosystem": "npm", "package": "x" });
        event("advisory", "advisory/osv", data)
    };
    let inputs = tried(&world, "cve-remediation", &advisory("critical")).expect("starts");
    assert_eq!(inputs["reason"], "GHSA-1");
    tried(&world, "cve-remediation", &advisory("low")).expect_err("it is low");

    let errors = |status: &str| {
        let data = json!({ "title": "x $(id)", "details": "at y", "status": status });
        event("webhook", "webhook/errors", data)
    };
    let inputs = tried(&world, "alert-bug-fix", &errors("firing")).expect("starts");
    assert_eq!((&inputs["title"], &inputs["details"]), (&json!("x $(id)"), &json!("at y")));
    tried(&world, "alert-bug-fix", &errors("resolved")).expect_err("it is resolved");

    let pager = json!({ "title": "down", "details": "all", "status": "triggered" });
    let inputs =
        tried(&world, "incident-first-pass", &event("webhook", "webhook/pager", pager.clone()));
    assert_eq!(inputs.expect("starts")["title"], "down");
    tried(&world, "incident-first-pass", &event("webhook", "webhook/other", pager))
        .expect_err("another hook");
}

#[test]
fn what_github_tells_starts_reviews_repairs_documentation_and_changes_by_specification() {
    let world = World::new();
    let pull = |fork: bool| {
        let owner = if fork { "stranger/api" } else { "acme/api" };
        let pull = json!({
            "number": 12, "title": "Sum", "body": "More.", "state": "open", "draft": false,
            "author_association": "MEMBER", "user": { "login": "ann", "id": 3, "type": "User" },
            "html_url": "https://github.com/acme/api/pull/12", "labels": [],
            "base": { "ref": "main", "sha": "1".repeat(40), "repo": { "id": 1, "full_name": "acme/api" } },
            "head": { "ref": "work", "sha": "2".repeat(40), "repo": { "id": 1 + u8::from(fork), "full_name": owner } },
        });
        json!({ "action": "opened", "number": 12, "pull_request": pull })
    };
    let own = github(&world, "pull_request", pull(false));
    let inputs = tried(&world, "code-review", &own).expect("starts");
    assert_eq!((&inputs["head"], &inputs["about"]), (&json!("work"), &json!("Sum: More.")));
    let fork = github(&world, "pull_request", pull(true));
    let inputs = tried(&world, "code-review", &fork).expect("starts");
    assert_eq!(inputs["head"], "refs/pull/12/head");

    let push = |path: &str| {
        json!({
            "ref": "refs/heads/main", "before": "1".repeat(40), "after": "2".repeat(40), "forced": false,
            "created": false, "deleted": false, "pusher": { "name": "ann" },
            "head_commit": { "id": "2".repeat(40), "message": "x" },
            "commits": [{ "id": "2".repeat(40), "message": "x", "added": [], "removed": [], "modified": [path] }],
        })
    };
    let code = github(&world, "push", push("src/tool.sh"));
    assert_eq!(tried(&world, "docs-follow-code", &code).expect("starts")["since"], "1".repeat(40));
    tried(&world, "spec-to-change", &code).expect_err("no specification was touched");
    let spec = github(&world, "push", push("specs/shout.md"));
    assert_eq!(tried(&world, "spec-to-change", &spec).expect("starts")["spec"], "specs/shout.md");
    tried(&world, "docs-follow-code", &spec).expect_err("no code was touched");

    let check = |branch: &str, conclusion: &str| {
        let suite = json!({ "id": 2, "head_branch": branch, "head_sha": "2".repeat(40) });
        let run = json!({
            "id": 1, "name": "tests", "head_sha": "2".repeat(40), "status": "completed",
            "conclusion": conclusion, "html_url": "https://github.com/acme/api/runs/1",
            "pull_requests": [], "check_suite": suite,
        });
        github(&world, "check_run", json!({ "action": "completed", "check_run": run }))
    };
    let inputs = tried(&world, "failed-ci-repair", &check("main", "failure")).expect("starts");
    assert_eq!(inputs["name"], "tests");
    tried(&world, "failed-ci-repair", &check("main", "success")).expect_err("it passed");
    tried(&world, "failed-ci-repair", &check("work", "failure")).expect_err("another branch");
}
