//! Files as people write them.

use serde_json::{Value, json};
use windlass_run::{
    Duration,
    automation::{Automation, On},
    event::Trust,
    fleet::{Amount, Share, plan::RingSize},
    spec::{Action, Source},
};

pub(crate) const CVE: &str = r#"# A whole automation.
name: cve-remediation
description: Closes known weaknesses with the smallest upgrade.
on:
  - schedule: "0 6 * * 1-5"
    timezone: Europe/Berlin
    missed: once
    jitter: 10m
    blackout: ["Fri 18:00 - Mon 06:00", 12-24 - 01-02]
  - advisory: { ecosystems: [crates.io, npm], severity: ">=high" }
  - webhook: { source: generic, filter: 'event.data.level == "critical"', cooldown: 10m, rate: 30/h }
    inputs: { severity: "${{ event.data.level }}" }
  - comment: windlass
  - manual
inputs:
  severity: { type: string, default: high, choices: [low, medium, high, critical] }
targets:
  repositories: [acme/api, "local:///srv/git/billing.git"]
  search: { forge: github, query: "org:acme language:rust archived:false" }
  except: ["acme/attic-*"]
  select: grep -q tokio Cargo.toml
rollout:
  rings: [{ label: canary, most: 3 }, 1, 10%, 100%]
  advance_when: { success: ">=90%", reviewed: 1, verified: true, after: 1h }
  stop_when: { failures: ">20%", confidence: 95%, of: [red, conflict] }
limits: { parallel: 50, duration: 1h, tokens: 2000000, open_changes_per_repository: 1, changes_per_hour: 30 }
concurrency: { key: "${{ target.repository }}", when_busy: queue }
agent: { harness: claude-code, model: claude-sonnet, verify: [cargo test --locked] }
policy: strict
steps:
  - id: audit
    run: cargo audit --json > "$WINDLASS_OUTPUTS/audit.json" || true
    outputs:
      vulnerable: { from: audit.json, pointer: /vulnerabilities/count, type: integer, accept: value >= 0 }
  - id: enough
    if: steps.audit.outputs.vulnerable == 0
    end: skipped
    reason: Nothing is known of its ${{ inputs.severity }} weaknesses.
  - id: fix
    agent: |
      Remove every advisory that `cargo audit` reports for ${{ target.repository }}
      with the smallest upgrade that keeps the tests green.
    verify: [cargo test --locked, cargo audit]
    attempts: 3
    timeout: 1h30m
    retry: { attempts: 2, backoff: 30s, on: [environment, timeout] }
  - parallel:
      - run: cargo fmt --check
      - run: cargo clippy
        continue_on_error: true
    limit: 2
  - for_each: '["a", "b"]'
    as: part
    steps:
      - run: echo ${{ part }} ${{ round }}
  - until: steps.probe.outputs.ready
    rounds: 5
    pause: 10s
    steps:
      - id: probe
        run: echo true
        outputs: { ready: { type: boolean } }
  - approve: Shall this be proposed for ${{ target.repository }}?
  - wait: 5m
  - pull_request:
      branch: windlass/cve-${{ run.id }}
      title: Fix ${{ steps.audit.outputs.vulnerable }} advisories
on_failure:
  - report: { title: It failed, body: "${{ steps.fix.reason }}" }
finally:
  - run: rm -rf target
"#;

pub(crate) fn read(text: &str) -> Automation {
    Automation::read("a.yaml", text).unwrap_or_else(|refused| panic!("{refused}\n{text}"))
}

#[test]
fn a_whole_file_is_read_as_it_was_meant() {
    let automation = read(CVE);
    assert_eq!(automation.name.as_str(), "cve-remediation");
    let triggers: Vec<&str> = automation.triggers.iter().map(|trigger| trigger.on.name()).collect();
    assert_eq!(triggers, ["schedule", "advisory", "webhook", "comment", "manual"]);
    let webhook = &automation.triggers[2];
    assert_eq!(webhook.on, On::Webhook { source: "generic".to_owned() });
    assert_eq!(webhook.cooldown, Duration::from_secs(600));
    assert_eq!(webhook.trust, Trust::Member);
    assert!(webhook.filter.is_some() && webhook.inputs.contains_key("severity"));
    assert!(!automation.targets.is_from_trigger());
    let rings = &automation.rollout.rollout.rings;
    assert_eq!(rings[2], RingSize::UpTo(Amount::Share(Share::percent(10))));
    assert_eq!(automation.rollout.limits.parallel, Some(50));
    assert_eq!(automation.limits.duration, Duration::from_secs(3_600));
    let ids: Vec<&str> = automation.steps.iter().map(|step| step.id.as_str()).collect();
    let expected = [
        "audit",
        "enough",
        "fix",
        "parallel-1",
        "for-each-1",
        "until-1",
        "approve-1",
        "wait-1",
        "pull-request-1",
    ];
    assert_eq!(ids, expected);
    let count = &automation.steps[0].outputs["vulnerable"];
    let pointer = Some("/vulnerabilities/count".to_owned());
    let from_file = Source::File { path: "audit.json".to_owned(), pointer, regex: None };
    assert_eq!(count.source, from_file);
    let Action::Agent(agent) = &automation.steps[2].action else { panic!("an agent") };
    assert_eq!((agent.harness.as_str(), agent.verify.len()), ("claude-code", 2));
}

#[test]
fn what_a_file_leaves_out_has_a_default() {
    let automation = read("name: hello\nsteps: [{ run: make test }]\n");
    assert!(automation.enabled && automation.triggers.is_empty());
    assert!(automation.targets.is_from_trigger());
    assert_eq!(automation.steps[0].id.as_str(), "run-1");
    assert_eq!(automation.steps[0].timeout, Duration::from_secs(1_800));
}

#[test]
fn names_that_are_given_out_never_meet_those_that_are_written() {
    let text =
        "name: a\nsteps:\n- run: a\n- { id: run-1, run: b }\n- run: c\n- { id: run-3, run: d }";
    let automation = read(text);
    let ids: Vec<&str> = automation.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["run-2", "run-1", "run-4", "run-3"]);
}

#[test]
fn inputs_are_taken_with_their_defaults_or_all_refused_at_once() {
    let automation = read(
        "name: a\ninputs: { level: { choices: [low, high], default: low }, n: integer }\n\
         steps: [{ run: 'echo ${{ inputs.level }} ${{ inputs.n }}' }]",
    );
    let take = |given: Value| automation.take_inputs(given.as_object().expect("an object"));
    let taken = take(json!({ "n": 3 })).expect("taken");
    assert_eq!(Value::Object(taken), json!({ "level": "low", "n": 3 }));
    let refused = take(json!({ "level": "middle", "leval": 1 })).expect_err("refused");
    let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
    let expected = [
        "the input `leval` is not one of the automation's: did you mean `level`?",
        "the input `level` must be one of low, high",
        "the input `n` must be given: it has no default",
    ];
    assert_eq!(refused, expected);
}
