//! What starts an automation, and what does not and why.

use serde_json::{Value, json};
use windlass_run::{
    Duration, EventId, RunId, Time,
    automation::{Automation, Trigger},
    event::{Ancestry, Event, Link, Trust},
    trigger::{Past, Start, WhyNot, admits, looks},
};

use crate::good::read;

fn event(kind: &str, data: Value) -> Event {
    Event {
        id: EventId::new(Time::from_micros(1), 1),
        source: "github/acme/api".to_owned(),
        delivery: "d-1".to_owned(),
        kind: kind.to_owned(),
        subject: Some("pull_request/7".to_owned()),
        time: Time::from_micros(1),
        project_id: None,
        actor: None,
        trust: Trust::Member,
        ancestry: Ancestry::default(),
        data,
    }
}

fn one(on: &str) -> (Automation, Trigger) {
    let automation = read(&format!("name: fix\non:\n- {on}\nsteps: [{{ run: make }}]"));
    let trigger = automation.triggers[0].clone();
    (automation, trigger)
}

fn judged(on: &str, event: &Event) -> Result<Start, WhyNot> {
    let (automation, trigger) = one(on);
    looks(&automation, &trigger, event, 5)
}

fn pull_request(action: &str) -> Event {
    let pull = json!({
        "number": 7, "base": "main", "head_commit": "c0ffee", "labels": ["agent"], "draft": false,
    });
    event(&format!("pull_request.{action}"), json!({ "action": action, "pull_request": pull }))
}

#[test]
fn an_event_starts_only_what_waits_for_it() {
    let opened = pull_request("opened");
    for on in [
        "pull_request",
        "pull_request: { actions: [opened] }",
        "pull_request: { labels: [agent] }",
        "pull_request: { branches: 'ma*' }",
    ] {
        assert!(judged(on, &opened).is_ok(), "{on}");
    }
    for on in [
        "push",
        "issue",
        "pull_request: { actions: merged }",
        "pull_request: { labels: [bug] }",
        "pull_request: { branches: dev }",
    ] {
        assert_eq!(judged(on, &opened), Err(WhyNot::Other), "{on}");
    }
    let push = |branch: &str, default: bool| {
        let push = json!({ "branch": branch, "default_branch": default, "paths": ["src/a.rs"], "paths_complete": true });
        event("push", json!({ "push": push }))
    };
    assert!(judged("push", &push("main", true)).is_ok());
    assert_eq!(judged("push", &push("dev", false)), Err(WhyNot::Other));
    assert!(judged("push: { branches: dev, paths: 'src/**' }", &push("dev", false)).is_ok());
    assert_eq!(judged("push: { paths: 'docs/**' }", &push("main", true)), Err(WhyNot::Other));
    let comment = |word: &str| {
        event(
            "comment.created",
            json!({ "comment": {
        "number": 7, "on_pull_request": true, "commands": [{ "word": word, "rest": "this" }],
    } }),
        )
    };
    assert!(judged("comment: windlass", &comment("windlass")).is_ok());
    assert_eq!(judged("comment: windlass", &comment("retry")), Err(WhyNot::Other));
    assert_eq!(judged("comment: { under: issue }", &comment("windlass")), Err(WhyNot::Other));
    let check =
        event("check.completed", json!({ "check": { "name": "ci / test", "outcome": "failure" } }));
    assert!(judged("check", &check).is_ok());
    assert_eq!(judged("check: { outcomes: success }", &check), Err(WhyNot::Other));
    let advisory =
        event("advisory", json!({ "ecosystem": "npm", "package": "left-pad", "severity": "high" }));
    assert!(judged("advisory: { severity: '>=high', ecosystems: npm }", &advisory).is_ok());
    assert_eq!(judged("advisory: { severity: critical }", &advisory), Err(WhyNot::Other));
    let ended =
        Event { subject: Some("intake".to_owned()), ..event("automation.failed", json!({})) };
    assert!(judged("automation: { name: intake, outcomes: [failed, gave_up] }", &ended).is_ok());
    assert_eq!(
        judged("automation: { name: intake, outcomes: succeeded }", &ended),
        Err(WhyNot::Other)
    );
}

#[test]
fn words_of_strangers_start_nothing_unless_the_file_asks_for_it() {
    let stranger = Event { trust: Trust::Public, ..pull_request("opened") };
    let why = WhyNot::Trust { is: Trust::Public, least: Trust::Member };
    assert_eq!(judged("pull_request", &stranger), Err(why));
    assert!(judged("{ pull_request: {}, trust: public }", &stranger).is_ok());
}

#[test]
fn a_filter_decides_and_one_without_a_value_is_told() {
    let opened = pull_request("opened");
    assert!(
        judged("pull_request: { filter: event.data.pull_request.number == 7 }", &opened).is_ok()
    );
    assert_eq!(
        judged("pull_request: { filter: event.action == 'x' }", &opened),
        Err(WhyNot::Filtered)
    );
    let why =
        judged("pull_request: { filter: event.data.nothing }", &opened).expect_err("no value");
    assert_eq!(why.to_string(), "`event.data.nothing` has no value: there is no `nothing`");
}

#[test]
fn inputs_come_from_the_event_and_are_checked() {
    let text = "name: fix\non: { webhook: alerts, inputs: { level: '${{ event.data.level }}', n: '${{ event.data.n }}' } }\n\
                inputs: { level: { choices: [low, high] }, n: integer }\nsteps: [{ run: make }]";
    let automation = read(text);
    let alert =
        |data: Value| Event { source: "webhook/alerts".to_owned(), ..event("webhook", data) };
    let judged = |event: &Event| looks(&automation, &automation.triggers[0], event, 5);
    let start = judged(&alert(json!({ "level": "high", "n": 3 }))).expect("a start");
    assert_eq!(Value::Object(start.inputs), json!({ "level": "high", "n": 3 }));
    let why = judged(&alert(json!({ "level": "$(rm -rf /)", "n": "3" }))).expect_err("refused");
    assert_eq!(
        why.to_string(),
        "the input `level` must be one of low, high; the input `n` must be of the type integer"
    );
    let elsewhere = Event { source: "webhook/other".to_owned(), ..alert(json!({})) };
    assert_eq!(judged(&elsewhere), Err(WhyNot::Other));
}

#[test]
fn an_automation_that_would_wake_itself_is_stopped_by_name() {
    let link = |automation: &str| Link {
        event_id: EventId::new(Time::from_micros(1), 1),
        run_id: RunId::new(Time::from_micros(1), 1),
        automation: automation.to_owned(),
    };
    let ancestry = Ancestry::default().with(link("fix")).with(link("verify"));
    let why = judged("pull_request", &Event { ancestry, ..pull_request("opened") });
    let why = why.expect_err("stopped").to_string();
    assert!(why.contains("fix → verify → fix"), "{why}");
    let deep = (0..7).fold(Ancestry::default(), |chain, n| chain.with(link(&format!("a{n}"))));
    let why = judged("pull_request", &Event { ancestry: deep, ..pull_request("opened") });
    assert!(why.expect_err("stopped").to_string().contains("more than 5"));
}

#[test]
fn the_same_state_told_twice_is_one_event() {
    let key = |event: &Event| {
        judged("pull_request: { actions: [opened, synchronize] }", event).expect("a start").key
    };
    let first = pull_request("synchronize");
    let mut again = first.clone();
    again.delivery = "d-2".to_owned();
    again.data["pull_request"]["title"] = json!("another title");
    assert_eq!(key(&first), key(&again));
    again.data["pull_request"]["head_commit"] = json!("beef");
    assert_ne!(key(&first), key(&again));
    let own = |event: &Event| {
        judged("pull_request: { dedup: '${{ event.data.pull_request.number }}' }", event)
            .expect("a start")
            .key
    };
    assert_eq!(own(&pull_request("opened")), "7");
}

#[test]
fn a_switched_off_automation_starts_nothing() {
    let automation = read("name: a\nenabled: false\non: [manual]\nsteps: [{ run: make }]");
    let asked = event("manual", json!({}));
    assert_eq!(looks(&automation, &automation.triggers[0], &asked, 5), Err(WhyNot::Disabled));
}

#[test]
fn the_past_holds_back_duplicates_and_storms() {
    let (_, trigger) = one("push: { dedup_for: 1h, cooldown: 10m, rate: 3/h }");
    let at = |minutes: i64| Time::from_micros(minutes * 60_000_000);
    let now = at(1_000);
    let past = Past::default();
    assert_eq!(admits(&trigger, &past, now), Ok(()));
    let same = Past { same_key: Some(at(950)), ..past };
    assert_eq!(admits(&trigger, &same, now), Err(WhyNot::Duplicate { of: at(950) }));
    assert_eq!(admits(&trigger, &Past { same_key: Some(at(940)), ..past }, now), Ok(()));
    let recent = Past { same_subject: Some(at(995)), ..past };
    assert_eq!(admits(&trigger, &recent, now), Err(WhyNot::Cooldown { until: at(1_005) }));
    let used_up = Past { rate_began: Some(at(970)), ..past };
    assert_eq!(admits(&trigger, &used_up, now), Err(WhyNot::Rate { until: at(1_030) }));
    assert_eq!(trigger.dedup_for, Duration::from_secs(3_600));
}
