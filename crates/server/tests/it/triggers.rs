//! Triggers: events and times start runs of automations by themselves, once each, and stop when they go
//! wrong.

use reqwest::StatusCode;
use serde_json::{Value, json};
use windlass_run::{
    Duration, EventId, Time,
    actor::{Actor, By},
    event::{Ancestry, Event, Trust},
    job::{End, Outcome, Report},
};
use windlass_store::automations::{Change, NewVersion, Origin};
use windlass_wire::api::account::Role;

use super::{
    house::House,
    scripted_runner::{Held, Runner},
};

/// Puts an automation in force.
async fn apply(house: &House, on: &str) -> String {
    apply_at(house, on, admin(house).await, house.handle().state().now()).await
}

async fn apply_at(house: &House, text: &str, by: By, now: Time) -> String {
    let name = text.lines().find_map(|line| line.strip_prefix("name: ")).expect("a name");
    let organisation_id = house.handle().state().organisation_id();
    let there = house.store.automation(organisation_id, name).await;
    let to =
        NewVersion { file: format!("{name}.yaml"), text: text.to_owned(), origin: Origin::Hand };
    let expected = there.map_or(0, |there| there.current.version);
    let change = Change { name: name.to_owned(), expected, to: Some(to) };
    let organisation_id = organisation_id.clone();
    let applied = house.store.apply_automations(by, organisation_id, vec![change], None, now);
    applied.await.expect("applied");
    name.to_owned()
}

/// The admin, as whoever applies something.
async fn admin(house: &House) -> By {
    let organisation_id = house.handle().state().organisation_id();
    let tokens = house.store.tokens(organisation_id).await.expect("read");
    let token = tokens.into_iter().find(|token| token.name == "test").expect("a token");
    By::own(Actor::Token(token.id))
}

/// An automation of one step.
fn file(name: &str, on: &str, more: &str) -> String {
    format!("name: {name}\non:\n  - {on}\n{more}steps:\n  - id: one\n    run: \"true\"\n")
}

const ON_BILLING: &str = "targets:\n  repositories: [billing]\n";

fn event(house: &House, delivery: &str, data: Value) -> Event {
    let now = house.handle().state().now();
    let random = delivery.bytes().fold(7, |sum: u128, byte| sum * 31 + u128::from(byte));
    Event {
        id: EventId::new(now, random),
        source: "webhook/pager".to_owned(),
        delivery: delivery.to_owned(),
        kind: "webhook".to_owned(),
        subject: None,
        time: now,
        project_id: None,
        actor: None,
        trust: Trust::Member,
        ancestry: Ancestry::default(),
        data,
    }
}

async fn happens(house: &House, delivery: &str, data: Value) -> String {
    let (event, now) = (event(house, delivery, data), house.handle().state().now());
    let organisation_id = house.handle().state().organisation_id().clone();
    let received = house.store.receive_event(organisation_id, event, now).await.expect("kept");
    received.id.to_string()
}

/// Waits until nothing that happened waits to be handled.
async fn handled(house: &House) {
    let mut hint = house.store.subscribe();
    let wait = async {
        loop {
            hint.mark_unchanged();
            if house.store.unhandled_events(0, 1).await.expect("read").is_empty() {
                return;
            }
            hint.changed().await.expect("the store is open");
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), wait).await.expect("handled");
}

/// What triggers made of an event: outcomes and reasons.
async fn firings(house: &House, event: &str) -> Vec<(String, String)> {
    let shown = house.get(&format!("/api/v1/events/{event}")).await;
    let firings = shown["firings"].as_array().expect("firings").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    firings.map(|it| (text(&it["outcome"]), text(&it["reason"]))).collect()
}

async fn runs(house: &House) -> Vec<Value> {
    house.get("/api/v1/runs?limit=200").await["items"].as_array().expect("items").clone()
}

async fn notices(house: &House) -> Vec<(String, String)> {
    let all = house.get("/api/v1/health/notices").await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = all.as_array().expect("a list").iter();
    all.map(|it| (text(&it["kind"]), text(&it["subject"]))).collect()
}

/// Waits until these notices stand, in their order.
async fn notices_become(house: &House, expected: &[(String, String)]) {
    let mut hint = house.store.subscribe();
    let wait = async {
        loop {
            hint.mark_unchanged();
            let mut found = notices(house).await;
            found.sort();
            if found == expected {
                return;
            }
            hint.changed().await.expect("the store is open");
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(60), wait).await;
    assert!(waited.is_ok(), "{:?}", notices(house).await);
}

async fn end(runner: &Runner<'_>, outcome: Outcome) -> Held {
    let mut held = runner.lease().await;
    let (code, reason) = ("test".to_owned(), "It ended.".to_owned());
    let end = End { outcome, code, reason, give_up: None };
    let answer = runner.report(&mut held, vec![Report::Ended(end)]).await;
    assert_eq!(answer.refused, None);
    held
}

fn pair(kind: &str, subject: &str) -> (String, String) {
    (kind.to_owned(), subject.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_events_that_say_the_same_start_one_run() {
    let house = House::new().await;
    house.project("billing").await;
    apply(&house, &file("fix", "webhook: pager", ON_BILLING)).await;
    apply(&house, &file("other", "webhook: elsewhere", ON_BILLING)).await;
    let all = (0..1_000).map(|n| format!("msg_{n}")).collect::<Vec<_>>();
    let all = all.iter().map(|id| happens(&house, id, json!({ "alert": "checkout is down" })));
    let ids = futures::future::join_all(all).await;
    handled(&house).await;
    let runs = runs(&house).await;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0]["title"], "fix");
    let mut outcomes = std::collections::BTreeMap::new();
    for id in ids {
        for (outcome, _) in firings(&house, &id).await {
            *outcomes.entry(outcome).or_insert(0) += 1;
        }
    }
    let expected = [("duplicate".to_owned(), 999), ("fired".to_owned(), 1)];
    assert_eq!(outcomes, expected.into_iter().collect());
    // Something else is something else.
    happens(&house, "other", json!({ "alert": "checkout is up" })).await;
    handled(&house).await;
    assert_eq!(self::runs(&house).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn automations_that_wake_each_other_are_stopped_with_the_cycle_in_words() {
    let house = House::new().await;
    house.project("billing").await;
    apply(&house, &file("intake", "webhook: pager", ON_BILLING)).await;
    apply(&house, &file("fix", "automation: intake\n  - automation: verify", ON_BILLING)).await;
    apply(&house, &file("verify", "automation: fix", "")).await;
    happens(&house, "1", json!({})).await;
    let runner = Runner::register(&house).await;
    for _ in 0..3 {
        end(&runner, Outcome::Failed).await;
        handled(&house).await;
    }
    let titles: Vec<Value> = runs(&house).await.iter().map(|run| run["title"].clone()).collect();
    assert_eq!(titles, ["verify", "fix", "intake"], "newest first");
    let last = house.get("/api/v1/events?type=automation&limit=1").await;
    let id = last["items"][0]["id"].as_str().expect("an id");
    assert_eq!(last["items"][0]["type"], "automation.failed");
    let found = firings(&house, id).await;
    let why = "it would wake itself: fix → verify → fix. Let a filter leave out what it causes";
    assert_eq!(found, [pair("loop", why)]);
    // One that somebody starts by hand wakes no other of itself either.
    apply(&house, &file("again", "automation: again", ON_BILLING)).await;
    let by_hand = json!({ "file": { "name": "again.yaml", "text": file("again", "automation: again", ON_BILLING) } });
    house.post("/api/v1/automations/run", by_hand).await;
    end(&runner, Outcome::Failed).await;
    handled(&house).await;
    let last = house.get("/api/v1/events?type=automation&limit=1").await;
    let found = firings(&house, last["items"][0]["id"].as_str().expect("an id")).await;
    assert_eq!(found[0].0, "loop");
    assert!(found[0].1.contains("again → again"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trust_filters_inputs_and_targets_decide_what_starts() {
    let house = House::new().await;
    for project in ["billing", "docs"] {
        house.project(project).await;
    }
    let filtered = "webhook: pager\n    filter: event.data.level == 'critical'\n    inputs:\n      \
                    level: ${{ event.data.level }}";
    let inputs = "inputs:\n  level: string\ntargets:\n  repositories: [billing, docs]\n";
    apply(&house, &file("both", filtered, inputs)).await;
    apply(&house, &file("own", "webhook: pager\n    trust: own", ON_BILLING)).await;
    apply(&house, &file("nowhere", "webhook: pager", "")).await;
    let low = happens(&house, "1", json!({ "level": "low" })).await;
    let critical = happens(&house, "2", json!({ "level": "critical" })).await;
    let none = happens(&house, "3", json!({})).await;
    handled(&house).await;
    let runs = runs(&house).await;
    assert_eq!((runs.len(), &runs[0]["title"]), (1, &json!("both")));
    // Over two repositories it is a fleet.
    let run_id = runs[0]["id"].as_str().expect("an id");
    let targets = house.get(&format!("/api/v1/fleets/{run_id}/targets")).await;
    let mut names: Vec<&Value> =
        targets["items"].as_array().expect("a list").iter().map(|one| &one["repository"]).collect();
    names.sort_by_key(|name| name.to_string());
    assert_eq!(names, ["billing", "docs"], "{targets}");
    let words = async |id: &str| -> Vec<String> {
        firings(&house, id).await.into_iter().map(|(outcome, _)| outcome).collect()
    };
    for (id, both) in [(low, "filtered"), (critical, "fired"), (none, "no_value")] {
        let mut found = words(&id).await;
        found.sort();
        let mut expected = [both, "untrusted", "refused"].map(str::to_owned);
        expected.sort();
        assert_eq!(found, expected, "{both}");
    }
    assert_eq!(notices(&house).await, [pair("automation-refused", "nowhere")]);
    assert!(house.text("/").await.contains("nowhere can&#39;t be started"));
    // It is well once it starts something.
    apply(&house, &file("nowhere", "webhook: pager", ON_BILLING)).await;
    happens(&house, "4", json!({ "level": "low", "n": 4 })).await;
    handled(&house).await;
    assert_eq!(notices(&house).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_lends_an_automation_rights_that_they_do_not_have() {
    let house = House::new().await;
    house.project("billing").await;
    let operator = house.handle().issue_token("deploy", Role::Operator).await.expect("a token");
    let organisation_id = house.handle().state().organisation_id().clone();
    let tokens = house.store.tokens(&organisation_id).await.expect("read");
    let deploy = tokens.into_iter().find(|token| token.name == "deploy").expect("a token");
    let by_operator = By::own(Actor::Token(deploy.id.clone()));
    let now = house.handle().state().now();
    let run_as = |name: &str, who: &str| {
        file(name, &format!("webhook: pager\n    run_as: {who}"), ON_BILLING)
    };
    apply_at(&house, &run_as("greedy", "test"), by_operator.clone(), now).await;
    apply_at(&house, &run_as("plain", "deploy"), by_operator.clone(), now).await;
    apply(&house, &run_as("lent", "deploy")).await;
    apply(&house, &run_as("nobody", "nobody-here")).await;
    let first = happens(&house, "1", json!({ "n": 1 })).await;
    handled(&house).await;
    let told = |found: Vec<(String, String)>| {
        let refused = found.into_iter().filter(|(outcome, _)| outcome == "refused");
        refused.map(|(_, why)| why).collect::<Vec<_>>().join("\n")
    };
    let why = told(firings(&house, &first).await);
    assert!(why.contains("deploy, who applied the automation, may not run it as test"), "{why}");
    assert!(why.contains("`run_as: nobody-here` is neither"), "{why}");
    let titles: Vec<Value> = runs(&house).await.iter().map(|run| run["title"].clone()).collect();
    assert_eq!(titles.len(), 2, "{titles:?}");
    // Whose token was revoked starts nothing any more.
    drop(operator);
    let by = admin(&house).await;
    house.store.revoke_token(by, organisation_id, deploy.id, now).await.expect("revoked");
    let second = happens(&house, "2", json!({ "n": 2 })).await;
    handled(&house).await;
    let why = told(firings(&house, &second).await);
    assert!(why.contains("expired or was revoked"), "{why}");
    assert_eq!(runs(&house).await.len(), 2);
    assert!(notices(&house).await.contains(&pair("automation-refused", "lent")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_whose_runs_fail_pauses_and_goes_on_when_somebody_says_so() {
    let house = House::new().await;
    house.project("billing").await;
    apply(&house, &file("fix", "webhook: pager", ON_BILLING)).await;
    let runner = Runner::register(&house).await;
    for n in 0..5 {
        happens(&house, &format!("msg_{n}"), json!({ "n": n })).await;
        end(&runner, Outcome::Failed).await;
        handled(&house).await;
    }
    assert_eq!(notices(&house).await, [pair("automation-paused", "fix")]);
    let event = happens(&house, "while paused", json!({ "n": "paused" })).await;
    handled(&house).await;
    assert_eq!(firings(&house, &event).await[0].0, "paused");
    assert_eq!(runs(&house).await.len(), 5);
    let (by, state) = (admin(&house).await, house.handle().state());
    let organisation_id = state.organisation_id().clone();
    let resumed =
        house.store.pause_automation(by, organisation_id, "fix".into(), None, state.now());
    assert!(resumed.await.expect("resumed"));
    assert_eq!(notices(&house).await, []);
    happens(&house, "after", json!({ "n": "after" })).await;
    handled(&house).await;
    assert_eq!(runs(&house).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_turn_goes_on_after_a_restart_too() {
    let mut house = House::new().await;
    house.project("billing").await;
    let more = format!("{ON_BILLING}concurrency:\n  key: ${{{{ target.repository }}}}\n");
    apply(&house, &file("fix", "webhook: pager", &more)).await;
    for n in 0..3 {
        happens(&house, &format!("msg_{n}"), json!({ "n": n })).await;
        handled(&house).await;
    }
    assert_eq!(runs(&house).await.len(), 3);
    let mut order = Vec::new();
    for _ in 0..3 {
        house.restart().await;
        let runner = Runner::register(&house).await;
        let mut held = runner.lease().await;
        assert_eq!(runner.lease_within(0).await.len(), 0, "the others wait");
        let (code, reason) = ("test".to_owned(), "It ended.".to_owned());
        let end = End { outcome: Outcome::Failed, code, reason, give_up: None };
        runner.report(&mut held, vec![Report::Ended(end)]).await;
        order.push(held.lease.run_id.to_string());
    }
    let mut oldest_first: Vec<String> = runs(&house)
        .await
        .iter()
        .map(|run| run["id"].as_str().expect("an id").to_owned())
        .collect();
    oldest_first.reverse();
    assert_eq!(order, oldest_first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_fire_and_what_was_missed_is_told() {
    let house = House::new().await;
    house.project("billing").await;
    let now = house.handle().state().now();
    let by = admin(&house).await;
    // As if the server had been down since it was applied.
    let hourly = file("hourly", "schedule: \"0 * * * *\"", ON_BILLING);
    apply_at(&house, &hourly, by, now - Duration::from_secs(5 * 3600)).await;
    let dead = "schedule: \"0 12 * * SAT\"\n    blackout: Sat - Sun";
    apply(&house, &file("never", dead, ON_BILLING)).await;
    apply(&house, &file("often", "schedule: \"* * * * * *\"", ON_BILLING)).await;
    let runner = Runner::register(&house).await;
    let mut titles = std::collections::BTreeSet::new();
    while titles.len() < 2 {
        let held = runner.lease().await;
        titles.insert(held.lease.title.clone());
    }
    assert!(titles.contains("hourly on billing") && titles.contains("often on billing"));
    let drift = "drift: { path: NOTICE, expect: file.exists }";
    apply(&house, &file("drifts", drift, ON_BILLING)).await;
    let expected = [
        pair("schedule-dead", "never"),
        pair("schedule-missed", "hourly"),
        pair("trigger-unwatched", "drifts"),
    ];
    notices_become(&house, &expected).await;
    let fired = house.get("/api/v1/events?source=schedule/hourly").await;
    assert_eq!(fired["items"].as_array().map(Vec::len), Some(1), "one stands for all: {fired}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_refuses_its_sender_raises_one_notice_until_it_receives() {
    let house = House::new().await;
    let new = json!({ "name": "pager", "scheme": "bearer" });
    let secret = house.post("/api/v1/hooks", new).await["secret"].as_str().expect("s").to_owned();
    let send = async |secret: &str| {
        let request = house.http.post(format!("{}/hooks/in/pager", house.url)).bearer_auth(secret);
        request.body("{}").send().await.expect("answered").status()
    };
    for _ in 0..4 {
        assert_eq!(send("wlh_wrong").await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(notices(&house).await, []);
    for _ in 0..20 {
        send("wlh_wrong").await;
    }
    assert_eq!(notices(&house).await, [pair("hook-refused", "pager")]);
    let organisation_id = house.handle().state().organisation_id();
    let feed = house.store.feed(organisation_id, 0, 10_000).await.expect("read");
    let told = feed.iter().filter(|item| item.subject == "notice").count();
    assert_eq!(told, 1, "knocking writes once");
    assert_eq!(send(&secret).await, StatusCode::ACCEPTED);
    assert_eq!(notices(&house).await, []);
    let all = house.get("/api/v1/health/notices?all=true").await;
    assert!(all[0]["resolved_at"].as_i64() > Some(0), "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_says_what_it_would_have_started_without_starting_anything() {
    let house = House::new().await;
    house.project("billing").await;
    for (id, level) in [("1", "low"), ("2", "critical"), ("3", "critical")] {
        happens(&house, id, json!({ "level": level })).await;
    }
    handled(&house).await;
    let filtered = "webhook: pager\n    filter: event.data.level == 'critical'";
    let text = file("fix", filtered, ON_BILLING);
    let rehearse = |text: &str, last: u32| {
        let file = json!({ "name": "fix.yaml", "text": text });
        json!({ "file": file, "last": last })
    };
    let path = "/api/v1/automations/rehearse";
    let said = house.post(path, rehearse(&text, 100)).await;
    assert_eq!((&said["looked_at"], &said["starts"]), (&json!(3), &json!(1)), "{said}");
    let why = said["events"].as_array().expect("events").iter();
    let why: Vec<&str> =
        why.map(|event| event["triggers"][0]["why"].as_str().unwrap_or("starts")).collect();
    assert_eq!(why, ["the filter does not hold", "starts", "the same started a run before"]);
    let said = house.post(path, rehearse(&text, 1)).await;
    assert_eq!((&said["looked_at"], &said["starts"]), (&json!(1), &json!(1)), "{said}");
    assert_eq!(runs(&house).await, Vec::<Value>::new());
    let (code, _) = house.refused(path, rehearse("name: Fix", 1)).await;
    assert_eq!(code, "invalid-automation");
    let (code, _) = house.refused(path, rehearse(&text, 0)).await;
    assert_eq!(code, "bad-request");
}
