//! What triggers make of events: runs that are started once, in turn, told of, and stopped when they fail.

use std::collections::BTreeSet;

use serde_json::json;
use windlass_run::{
    EventId, RunId, StepId, Time,
    automation::Automation,
    event::{Ancestry, Event, Trust},
    job::{End, Outcome, Report, StepResult},
};
use windlass_store::{
    automations::{Change, NewVersion, Origin, Pinned},
    events::fire::{Handled, Handling, MOST_FAILURES, New, PAUSED, Start},
    runs::{NewRun, Standing},
    schedules::Fired,
    turns::{Turn, WhenBusy},
};

use crate::support::{World, at, chance};

on_both! {
    an_event_starts_its_run_once_however_often_it_is_handled;
    what_was_started_before_is_seen_where_nothing_can_come_in_between;
    the_end_of_a_run_is_an_event_that_knows_what_it_descends_from;
    runs_at_the_same_thing_go_one_after_another_also_after_a_restart;
    who_is_skipped_or_cancelled_when_busy_is_told;
    runs_at_several_things_do_not_wait_for_each_other;
    a_trigger_that_fails_too_often_is_paused_with_a_notice;
    fires_of_schedules_are_events_once_each;
    a_notice_is_raised_once_and_resolved;
}

const FILE: &str = "name: fix\non:\n  - webhook: pager\n    rate: 2/h\n    cooldown: 10m\n\
                    steps:\n  - run: \"true\"\n";

async fn applied(world: &World) -> Automation {
    let to = NewVersion { file: "fix.yaml".into(), text: FILE.to_owned(), origin: Origin::Hand };
    let change = Change { name: "fix".into(), expected: 0, to: Some(to) };
    let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
    let applied = world.store.apply_automations(by, organisation_id, vec![change], None, world.now);
    applied.await.expect("applied");
    Automation::read("fix.yaml", FILE).expect("a file")
}

fn event(world: &World, delivery: &str) -> Event {
    Event {
        id: EventId::new(world.now, chance()),
        source: "webhook/pager".to_owned(),
        delivery: delivery.to_owned(),
        kind: "webhook".to_owned(),
        subject: None,
        time: world.now,
        project_id: None,
        actor: None,
        trust: Trust::Member,
        ancestry: Ancestry::default(),
        data: json!({}),
    }
}

async fn received(world: &World, delivery: &str) -> EventId {
    let event = event(world, delivery);
    let organisation_id = world.organisation_id.clone();
    world.store.receive_event(organisation_id, event, world.now).await.expect("kept").id
}

fn run(world: &World) -> NewRun {
    let pinned = Pinned { automation: "fix".into(), version: Some(1), digest: "d".into() };
    NewRun { automation: Some(pinned), ..world.new_run("fix", vec![world.spec(&["one"])]) }
}

fn start(world: &World, automation: &Automation, same: &str, run: NewRun) -> Start {
    Start {
        automation: "fix".into(),
        version: 1,
        trigger: "fix/webhook-1".into(),
        rules: automation.triggers[0].clone(),
        same: same.to_owned(),
        about: format!("about {same}"),
        by: world.by.clone(),
        new: New::Run(Box::new(run)),
    }
}

async fn handle(world: &World, event_id: &EventId, starts: Vec<Start>) -> Handled {
    let handling = Handling {
        organisation_id: world.organisation_id.clone(),
        event_id: event_id.clone(),
        outcome: "kept".into(),
        firings: vec![],
        starts,
        ends: None,
    };
    world.store.handle_event(handling, world.now).await.expect("handled")
}

/// Handles what waits of ends of runs; gives those events.
async fn handle_ends(world: &World) -> Vec<Event> {
    let mut told = Vec::new();
    for kept in world.store.unhandled_events(0, 100).await.expect("read") {
        if kept.event.family() != "automation" {
            continue;
        }
        let handling = Handling {
            organisation_id: world.organisation_id.clone(),
            event_id: kept.event.id.clone(),
            outcome: "kept".into(),
            firings: vec![],
            starts: vec![],
            ends: Some(RunId::parse(&kept.event.delivery).expect("a run")),
        };
        world.store.handle_event(handling, world.now).await.expect("handled");
        told.push(kept.event);
    }
    told
}

async fn outcomes(world: &World, event_id: &EventId) -> Vec<(String, Option<RunId>)> {
    let rows = world.store.firings_of_event(&world.organisation_id, event_id).await.expect("read");
    rows.into_iter().map(|row| (row.firing.outcome, row.firing.run_id)).collect()
}

/// What a runner says of a job of one step that ends so.
fn to_the_end(outcome: Outcome) -> Vec<Report> {
    let step_id = StepId::parse("one").expect("a step id");
    let (code, reason) = ("test".to_owned(), "It ended.".to_owned());
    match outcome {
        Outcome::Succeeded => {
            let result = StepResult::succeeded(None);
            vec![
                Report::StepStarted { step_id: step_id.clone() },
                Report::StepEnded { step_id, result },
            ]
        }
        _ => vec![Report::Ended(End { outcome, code, reason, give_up: None })],
    }
}

/// Leases the one job that can be had, and ends it so.
async fn work_off(world: &World, outcome: Outcome) -> RunId {
    let leased = world.lease(10).await;
    assert_eq!(leased.len(), 1, "one job can be had");
    let answer = world.report(world.reports(&leased[0], 1, to_the_end(outcome))).await;
    assert_eq!(answer.refused, None);
    leased[0].run_id.clone()
}

async fn an_event_starts_its_run_once_however_often_it_is_handled(mut world: World) {
    let automation = applied(&world).await;
    let event_id = received(&world, "1").await;
    let new = run(&world);
    let run_id = new.id.clone();
    let starts = vec![start(&world, &automation, "a", new)];
    assert_eq!(
        handle(&world, &event_id, starts.clone()).await,
        Handled::Started(vec![run_id.clone()])
    );
    world.reopen().await;
    assert_eq!(handle(&world, &event_id, starts).await, Handled::Before);
    assert_eq!(outcomes(&world, &event_id).await, [("fired".to_owned(), Some(run_id.clone()))]);
    let ancestry = world.store.ancestry_of_run(&world.organisation_id, &run_id).await;
    let links = ancestry.expect("read");
    assert_eq!(links.links()[0].event_id, event_id);
    world.check().await;
}

async fn what_was_started_before_is_seen_where_nothing_can_come_in_between(mut world: World) {
    let automation = applied(&world).await;
    for (n, (seconds, same, outcome)) in [
        (0, "a", "fired"),
        (1, "a", "duplicate"),
        (2, "b", "fired"),
        (3, "c", "rate"),
        (3_700, "c", "fired"),
        (3_701, "a", "duplicate"),
        (90_000, "a", "fired"),
    ]
    .into_iter()
    .enumerate()
    {
        world.now = at(seconds);
        let event_id = received(&world, &n.to_string()).await;
        let new = run(&world);
        handle(&world, &event_id, vec![start(&world, &automation, same, new)]).await;
        let found = outcomes(&world, &event_id).await;
        assert_eq!(found[0].0, outcome, "at {seconds} of {same}");
    }
    // About the same, under another key.
    world.now = at(200_000);
    for (delivery, same, outcome) in [("x", "x", "fired"), ("y", "y", "cooldown")] {
        let event_id = received(&world, delivery).await;
        let new = run(&world);
        let start = Start { about: "it".into(), ..start(&world, &automation, same, new) };
        handle(&world, &event_id, vec![start]).await;
        assert_eq!(outcomes(&world, &event_id).await[0].0, outcome);
    }
    let event_id = received(&world, "old").await;
    let stale = Start { version: 2, ..start(&world, &automation, "new", run(&world)) };
    assert_eq!(handle(&world, &event_id, vec![stale]).await, Handled::Changed);
    assert_eq!(outcomes(&world, &event_id).await, []);
}

async fn the_end_of_a_run_is_an_event_that_knows_what_it_descends_from(world: World) {
    let automation = applied(&world).await;
    let event_id = received(&world, "1").await;
    let new = run(&world);
    let run_id = new.id.clone();
    handle(&world, &event_id, vec![start(&world, &automation, "a", new)]).await;
    assert_eq!(work_off(&world, Outcome::Failed).await, run_id);
    let told = handle_ends(&world).await;
    assert_eq!(told.len(), 1);
    let told = &told[0];
    assert_eq!((told.kind.as_str(), told.subject.as_deref()), ("automation.failed", Some("fix")));
    assert_eq!(told.project_id.as_ref(), Some(&world.project_id));
    let link = &told.ancestry.links()[0];
    assert_eq!((&link.event_id, &link.run_id), (&event_id, &run_id));
    let forbidden = told.ancestry.forbids("fix", 5).expect("forbidden");
    assert!(forbidden.to_string().contains("fix → fix"), "{forbidden}");
    // A task tells nothing.
    world.start("a task", &["one"]).await;
    work_off(&world, Outcome::Succeeded).await;
    assert_eq!(handle_ends(&world).await, []);
    // One by hand descends from itself alone.
    let new = run(&world);
    let by_hand = new.id.clone();
    world.store.create_run(world.by.clone(), new, world.now).await.expect("started");
    work_off(&world, Outcome::Succeeded).await;
    let told = handle_ends(&world).await;
    let links = told[0].ancestry.links();
    assert_eq!((links.len(), &links[0].run_id), (1, &by_hand));
    world.check().await;
}

fn turn(things: &[&str], when_busy: WhenBusy) -> Option<Turn> {
    let things = things.iter().map(|thing| (*thing).to_owned()).collect::<BTreeSet<_>>();
    Some(Turn { things, when_busy })
}

async fn started(world: &World, turn: Option<Turn>) -> RunId {
    let new = NewRun { turn, ..run(world) };
    world.store.create_run(world.by.clone(), new, world.now).await.expect("started").run_id
}

async fn runs_at_the_same_thing_go_one_after_another_also_after_a_restart(mut world: World) {
    let queue = || turn(&["api"], WhenBusy::Queue);
    let runs = [started(&world, queue()).await, started(&world, queue()).await];
    let third = started(&world, queue()).await;
    world.reopen().await;
    assert_eq!(work_off(&world, Outcome::Succeeded).await, runs[0]);
    assert_eq!(world.lease(10).await.len(), 0, "its end was not handled yet");
    handle_ends(&world).await;
    world.reopen().await;
    assert_eq!(work_off(&world, Outcome::Failed).await, runs[1]);
    // Who waits can be stopped, and nobody waits for that one.
    let reason = "no more".to_owned();
    let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
    world.store.cancel_run(by, organisation_id, third, reason, world.now).await.expect("asked");
    let last = started(&world, queue()).await;
    handle_ends(&world).await;
    assert_eq!(work_off(&world, Outcome::Succeeded).await, last);
    handle_ends(&world).await;
    world.check().await;
}

async fn who_is_skipped_or_cancelled_when_busy_is_told(world: World) {
    let automation = applied(&world).await;
    let skip = || turn(&["api"], WhenBusy::Skip);
    let first = started(&world, skip()).await;
    let event_id = received(&world, "1").await;
    let new = NewRun { turn: skip(), ..run(&world) };
    let by_hand = world.store.create_run(world.by.clone(), new.clone(), world.now).await;
    assert!(by_hand.expect_err("refused").to_string().contains(first.as_str()));
    handle(&world, &event_id, vec![start(&world, &automation, "a", new)]).await;
    assert_eq!(outcomes(&world, &event_id).await, [("busy".to_owned(), None)]);
    let newer = started(&world, turn(&["api"], WhenBusy::Cancel)).await;
    let (row, _) = world.store.run(&world.organisation_id, &first).await.expect("there");
    assert_eq!(row.standing, Standing::Ended(Outcome::Cancelled));
    handle_ends(&world).await;
    assert_eq!(work_off(&world, Outcome::Succeeded).await, newer);
    world.check().await;
}

async fn runs_at_several_things_do_not_wait_for_each_other(world: World) {
    let first = started(&world, turn(&["api", "web"], WhenBusy::Queue)).await;
    let second = started(&world, turn(&["web", "docs"], WhenBusy::Queue)).await;
    let third = started(&world, turn(&["docs", "api"], WhenBusy::Queue)).await;
    let beside = started(&world, turn(&["mail"], WhenBusy::Queue)).await;
    let mut order = Vec::new();
    while order.len() < 4 {
        let leased = world.lease(1).await;
        assert_eq!(leased.len(), 1, "after {order:?} nobody goes on");
        world.report(world.reports(&leased[0], 1, to_the_end(Outcome::Succeeded))).await;
        order.push(leased[0].run_id.clone());
        handle_ends(&world).await;
    }
    order.retain(|run_id| *run_id != beside);
    assert_eq!(order, [first, second, third]);
}

async fn a_trigger_that_fails_too_often_is_paused_with_a_notice(mut world: World) {
    let automation = applied(&world).await;
    let fail = async |world: &mut World, n: usize, outcome| {
        world.now = at(10_000 * i64::try_from(n + 1).expect("small"));
        let event_id = received(world, &n.to_string()).await;
        let new = run(world);
        handle(world, &event_id, vec![start(world, &automation, &n.to_string(), new)]).await;
        work_off(world, outcome).await;
        handle_ends(world).await;
        let found = world.store.automation(&world.organisation_id, "fix").await.expect("there");
        found.paused.map(|pause| pause.why)
    };
    let mut n = 0;
    for outcome in [Outcome::Failed, Outcome::Succeeded] {
        assert_eq!(fail(&mut world, n, outcome).await, None);
        n += 1;
    }
    for _ in 1..MOST_FAILURES {
        assert_eq!(fail(&mut world, n, Outcome::Failed).await, None, "{n}");
        n += 1;
    }
    let why = fail(&mut world, n, Outcome::GaveUp).await.expect("paused");
    assert!(why.contains("windlass automation resume fix"), "{why}");
    let notices = world.store.notices(&world.organisation_id, true, 10).await.expect("read");
    assert_eq!((notices[0].kind.as_str(), notices[0].subject.as_str()), (PAUSED, "fix"));
    let event_id = received(&world, "while paused").await;
    let new = run(&world);
    let paused = handle(&world, &event_id, vec![start(&world, &automation, "p", new)]).await;
    assert_eq!(paused, Handled::Changed);
    let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
    let now = world.now + windlass_run::Duration::from_secs(1);
    world.store.pause_automation(by, organisation_id, "fix".into(), None, now).await.expect("on");
    assert_eq!(world.store.notices(&world.organisation_id, true, 10).await.expect("read"), []);
    assert_eq!(fail(&mut world, n + 1, Outcome::Failed).await, None, "it is counted anew");
}

async fn fires_of_schedules_are_events_once_each(mut world: World) {
    let organisation_id = || world.organisation_id.clone();
    let key = || "fix/schedule-1".to_owned();
    let watch = |watch, forget| world.store.watch_schedules(organisation_id(), watch, forget);
    watch(vec![(key(), at(0))], vec![]).await.expect("watched");
    watch(vec![(key(), at(50))], vec![]).await.expect("watched");
    let known = world.store.schedules(&world.organisation_id).await.expect("read");
    assert_eq!(known, [("fix/schedule-1".to_owned(), at(0))]);
    let fired = |trigger: &str, handled: Time, n: u32| {
        let delivery = format!("{trigger}@{n}");
        let event = Event { source: "schedule/fix".into(), ..event(&world, &delivery) };
        Fired { trigger: trigger.to_owned(), handled, events: vec![event] }
    };
    let fires = [fired("fix/schedule-1", at(60), 60), fired("fix/schedule-1", at(60), 60)];
    for fires in fires {
        let fires = vec![fires, fired("gone", at(60), 60)];
        world.store.schedules_fired(organisation_id(), fires, at(60)).await.expect("kept");
    }
    let kept = world.store.unhandled_events(0, 10).await.expect("read");
    assert_eq!(kept.len(), 1, "{kept:?}");
    watch(vec![], vec![key()]).await.expect("forgotten");
    world.reopen().await;
    assert_eq!(world.store.schedules(&world.organisation_id).await.expect("read"), []);
}

async fn a_notice_is_raised_once_and_resolved(world: World) {
    let store = &world.store;
    let organisation_id = || world.organisation_id.clone();
    let raise = |text: &str, now| {
        store.raise_notice(organisation_id(), "hook", "pager".into(), text.to_owned(), now)
    };
    assert!(raise("one", at(1)).await.expect("raised"));
    assert!(!raise("two", at(2)).await.expect("raised"));
    let open = async |only_open| {
        let all = store.notices(&world.organisation_id, only_open, 10).await.expect("read");
        all.into_iter().map(|it| (it.text, it.since, it.resolved_at)).collect::<Vec<_>>()
    };
    assert_eq!(open(true).await, [("two".to_owned(), at(1), None)]);
    let resolve = |now| store.resolve_notice(organisation_id(), "hook", "pager".into(), now);
    assert!(resolve(at(3)).await.expect("resolved"));
    assert!(!resolve(at(4)).await.expect("resolved"));
    assert_eq!(open(true).await, []);
    assert_eq!(open(false).await, [("two".to_owned(), at(1), Some(at(3)))]);
    assert!(raise("three", at(5)).await.expect("raised"));
    assert_eq!(open(true).await, [("three".to_owned(), at(5), None)]);
    let long = "é".repeat(3_000);
    raise(&long, at(6)).await.expect("raised");
    assert!(open(true).await[0].0.len() <= 2_000);
}
