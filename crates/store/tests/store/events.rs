//! Events: kept once, found, repeated, handled with what their triggers made of them.

use serde_json::json;
use windlass_run::{
    EventId, OrganisationId, ProjectId, RunId, Time,
    event::{Ancestry, Cause, Event, Link, Trust},
};
use windlass_store::{
    Error,
    events::{Filter, Firing, Handled, MOST_DATA, Slice},
};

use crate::support::{World, at, chance};

on_both! {
    an_event_is_kept_once_for_each_source_and_delivery;
    an_event_comes_back_as_it_was;
    events_are_found_by_everything_they_say;
    a_replay_is_a_new_event_that_names_the_first_and_is_in_the_audit_log;
    an_event_is_handled_once_with_what_its_triggers_made_of_it;
    what_no_database_takes_is_refused_and_leaves_nothing;
    events_of_another_organisation_are_not_there;
}

fn event(delivery: &str, kind: &str) -> Event {
    Event {
        id: EventId::new(at(1), chance()),
        source: "github/acme/api".into(),
        delivery: delivery.into(),
        kind: kind.into(),
        subject: None,
        time: at(1),
        project_id: None,
        actor: None,
        trust: Trust::Public,
        ancestry: Ancestry::default(),
        data: json!({}),
    }
}

async fn receive(world: &World, event: &Event, now: Time) -> (EventId, bool) {
    let received = world.store.receive_event(world.organisation_id.clone(), event.clone(), now);
    let received = received.await.expect("kept");
    (received.id, received.fresh)
}

async fn an_event_is_kept_once_for_each_source_and_delivery(mut world: World) {
    let first = event("a", "push");
    assert_eq!(receive(&world, &first, at(1)).await, (first.id.clone(), true));
    assert_eq!(receive(&world, &event("a", "push"), at(2)).await, (first.id.clone(), false));
    let elsewhere = Event { source: "github/acme/web".into(), ..event("a", "push") };
    assert!(receive(&world, &elsewhere, at(2)).await.1);
    world.reopen().await;
    assert_eq!(receive(&world, &event("a", "tag"), at(3)).await, (first.id.clone(), false));
    let twins = [event("b", "push"), event("b", "push")];
    let (one, other) =
        tokio::join!(receive(&world, &twins[0], at(4)), receive(&world, &twins[1], at(4)));
    assert_eq!((one.0 == other.0, one.1 ^ other.1), (true, true), "one of the two is kept");
    let waiting = world.store.unhandled_events(0, 10).await.expect("read");
    let deliveries: Vec<_> = waiting.iter().map(|kept| kept.event.delivery.as_str()).collect();
    assert_eq!(deliveries, ["a", "a", "b"]);
    world.check().await;
}

async fn an_event_comes_back_as_it_was(world: World) {
    let link = Link {
        event_id: EventId::new(at(0), 1),
        run_id: RunId::new(at(0), 1),
        automation: "triage".into(),
    };
    let whole = Event {
        subject: Some("pull_request/7".into()),
        project_id: Some(world.project_id.clone()),
        actor: Some(Cause { name: "ann".into(), id: Some("3".into()), bot: false }),
        trust: Trust::Known,
        ancestry: Ancestry::default().with(link),
        data: json!({ "text": "naïve \u{0} text", "n": 1.5, "list": [null, true] }),
        ..event("a", "comment.created")
    };
    receive(&world, &whole, at(5)).await;
    let kept = world.store.event(&world.organisation_id, &whole.id).await.expect("found");
    assert_eq!((kept.event, kept.received_at, kept.handled), (whole, at(5), None));
}

async fn found(world: &World, filter: Filter) -> Vec<String> {
    let slice = Slice { before: None, limit: 50 };
    let found = world.store.events(&world.organisation_id, filter, slice).await.expect("listed");
    found.into_iter().map(|kept| kept.event.delivery).collect()
}

async fn events_are_found_by_everything_they_say(world: World) {
    let text = |text: &str| Some(text.to_owned());
    let actor = Some(Cause { name: "ann".into(), id: None, bot: false });
    let project_id = Some(world.project_id.clone());
    let with = |title: &str| json!({ "pull_request": { "title": title, "number": 77 } });
    let made = [
        Event { data: with("Fix the parser"), ..event("1", "pull_request.opened") },
        Event { actor, project_id, ..event("2", "pull_request.closed") },
        Event { source: "webhook/pager".into(), trust: Trust::Member, ..event("3", "webhook") },
        Event { subject: text("refs/heads/main"), data: with("Überfix"), ..event("4", "push") },
    ];
    for (n, event) in (10..).zip(&made) {
        let event = Event { id: EventId::new(at(n), chance()), ..event.clone() };
        receive(&world, &event, at(n)).await;
    }
    let all = Filter::default;
    for (filter, expected) in [
        (all(), &["4", "3", "2", "1"][..]),
        (Filter { kind: text("pull_request"), ..all() }, &["2", "1"]),
        (Filter { kind: text("pull_request.opened"), ..all() }, &["1"]),
        (Filter { kind: text("pull"), ..all() }, &[]),
        (Filter { kind: text("pu\u{0}ll"), ..all() }, &[]),
        (Filter { source: text("webhook/pager"), ..all() }, &["3"]),
        (Filter { source: text("github/acme/api"), kind: text("push"), ..all() }, &["4"]),
        (Filter { subject: text("refs/heads/main"), ..all() }, &["4"]),
        (Filter { project_id: Some(world.project_id.clone()), ..all() }, &["2"]),
        (Filter { project_id: Some(ProjectId::new(at(0), chance())), ..all() }, &[]),
        (Filter { actor: text("ann"), ..all() }, &["2"]),
        (Filter { trust: Some(Trust::Member), ..all() }, &["3"]),
        (Filter { since: Some(at(12)), ..all() }, &["4", "3"]),
        (Filter { since: Some(at(99)), ..all() }, &[]),
        (Filter { search: text("fix pars"), ..all() }, &["1"]),
        (Filter { search: text("77"), ..all() }, &["4", "1"]),
        (Filter { search: text("überfix"), kind: text("push"), ..all() }, &["4"]),
        (Filter { search: text("überfix"), kind: text("tag"), ..all() }, &[]),
        (Filter { search: text("ann"), ..all() }, &["2"]),
        (Filter { search: text("' OR 1=1 --"), ..all() }, &[]),
        (Filter { search: text("%"), ..all() }, &[]),
        (Filter { handled: Some(false), ..all() }, &["4", "3", "2", "1"]),
        (Filter { handled: Some(true), ..all() }, &[]),
    ] {
        let shown = format!("{filter:?}");
        assert_eq!(found(&world, filter).await, expected, "{shown}");
    }
    let mut before = None;
    let mut seen = Vec::new();
    loop {
        let filter = Filter { search: text("github"), ..all() };
        let slice = Slice { before, limit: 2 };
        let page = world.store.events(&world.organisation_id, filter, slice).await.expect("a page");
        let Some(last) = page.last() else { break };
        before = Some(last.number);
        assert!(page.iter().all(|kept| kept.event.data.is_null()), "lists carry no data");
        seen.extend(page.into_iter().map(|kept| kept.event.delivery));
        // What arrives meanwhile shifts nothing.
        receive(&world, &event(&format!("late {before:?}"), "github"), at(20)).await;
    }
    assert_eq!(seen, ["4", "2", "1"]);
}

async fn a_replay_is_a_new_event_that_names_the_first_and_is_in_the_audit_log(world: World) {
    let first = Event { data: json!({ "a": 1 }), ..event("a", "push") };
    receive(&world, &first, at(1)).await;
    handled(&world, &first.id, vec![]).await;
    let replay = |of: &EventId, now| {
        let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
        let new_id = EventId::new(now, chance());
        world.store.replay_event(by, organisation_id, of.clone(), new_id, now)
    };
    let second = replay(&first.id, at(3)).await.expect("repeated");
    let third = replay(&second.id, at(4)).await.expect("repeated");
    for (again, now) in [(&second, at(3)), (&third, at(4))] {
        assert!(again.fresh);
        let kept = world.store.event(&world.organisation_id, &again.id).await.expect("found");
        let delivery = format!("replay:{}:{}", first.id, again.id);
        let expected = Event { id: again.id.clone(), delivery, ..first.clone() };
        assert_eq!((kept.event, kept.repeats), (expected, Some(first.id.clone())));
        assert_eq!((kept.received_at, kept.handled), (now, None));
    }
    let audit = world.store.audit(&world.organisation_id, None, 10).await.expect("read");
    let replays = audit.iter().filter(|entry| entry.command == "event.replay");
    let subjects: Vec<_> = replays.map(|entry| entry.subject.clone()).collect();
    assert_eq!(subjects, [third.id.to_string(), second.id.to_string()]);
    let nothing = replay(&EventId::new(at(0), 1), at(5)).await;
    assert!(matches!(nothing, Err(Error::NotFound { what: "event", .. })), "{nothing:?}");
}

async fn handled(world: &World, event_id: &EventId, firings: Vec<Firing>) -> bool {
    let organisation_id = world.organisation_id.clone();
    let outcome = "2 triggers".to_owned();
    let done =
        world.store.event_handled(organisation_id, event_id.clone(), outcome, firings, at(2));
    done.await.expect("noted")
}

async fn an_event_is_handled_once_with_what_its_triggers_made_of_it(mut world: World) {
    let (first, second) = (event("a", "push"), event("b", "push"));
    receive(&world, &first, at(1)).await;
    receive(&world, &second, at(1)).await;
    let run_id = RunId::new(at(2), chance());
    let firing = |trigger: &str, run_id: Option<&RunId>, outcome: &str| Firing {
        automation: trigger.split('#').next().expect("a name").into(),
        trigger: trigger.into(),
        run_id: run_id.cloned(),
        outcome: outcome.into(),
        reason: format!("{outcome}, because"),
    };
    let fired = firing("cve#0", Some(&run_id), "fired");
    let filtered = firing("lint#1", None, "filtered");
    let firings = vec![fired.clone(), filtered.clone()];
    assert!(handled(&world, &first.id, firings.clone()).await);
    assert!(!handled(&world, &first.id, firings.clone()).await, "once");
    assert!(handled(&world, &second.id, vec![filtered.clone()]).await);
    world.reopen().await;
    assert_eq!(world.store.unhandled_events(0, 10).await.expect("read"), []);
    let kept = world.store.event(&world.organisation_id, &first.id).await.expect("found");
    assert_eq!(kept.handled, Some(Handled { at: at(2), outcome: "2 triggers".into() }));
    let (store, organisation_id) = (&world.store, &world.organisation_id);
    let of_event = store.firings_of_event(organisation_id, &first.id).await.expect("read");
    let of_event: Vec<_> = of_event.into_iter().map(|row| row.firing).collect();
    assert_eq!(of_event, firings);
    let of_run = store.firing_of_run(organisation_id, &run_id).await.expect("read");
    assert_eq!(of_run.map(|row| (row.event_id, row.firing)), Some((first.id.clone(), fired)));
    let ancestry = store.ancestry_of_run(organisation_id, &run_id).await.expect("read");
    let link = Link { event_id: first.id.clone(), run_id, automation: "cve".into() };
    assert_eq!(ancestry, Ancestry::default().with(link));
    let of_nothing = store.ancestry_of_run(organisation_id, &RunId::new(at(0), 9)).await;
    assert_eq!(of_nothing.expect("read"), Ancestry::default());
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let slice = Slice { before, limit: 1 };
        let page = store.firings_of_trigger(organisation_id, "lint#1", slice).await.expect("read");
        let Some(last) = page.last() else { break };
        before = Some(last.number);
        seen.extend(page.into_iter().map(|row| row.event_id));
    }
    assert_eq!(seen, [second.id, first.id]);
    let nothing = store.event_handled(
        organisation_id.clone(),
        EventId::new(at(0), 1),
        String::new(),
        vec![],
        at(3),
    );
    assert!(matches!(nothing.await, Err(Error::NotFound { what: "event", .. })));
}

async fn what_no_database_takes_is_refused_and_leaves_nothing(world: World) {
    let large = json!("x".repeat(MOST_DATA));
    for event in [
        Event { data: large, ..event("a", "push") },
        Event { subject: Some("a\u{0}b".into()), ..event("b", "push") },
        Event { source: "a\u{0}b".into(), ..event("c", "push") },
        event(&"d".repeat(1_201), "push"),
    ] {
        let refused = world.store.receive_event(world.organisation_id.clone(), event, at(1)).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(found(&world, Filter::default()).await, Vec::<String>::new());
    // Words that a full-text index could stumble over.
    let odd =
        json!(["\u{0}", "'; DROP TABLE events; --", "\u{1F980}".repeat(500), "a".repeat(9_999)]);
    receive(&world, &Event { data: odd, ..event("d", "push") }, at(1)).await;
    assert_eq!(found(&world, Filter::default()).await, ["d"]);
}

async fn events_of_another_organisation_are_not_there(world: World) {
    let private = event("a", "push");
    receive(&world, &private, at(1)).await;
    let stranger = OrganisationId::new(at(0), chance());
    let slice = Slice { before: None, limit: 10 };
    let store = &world.store;
    assert_eq!(store.events(&stranger, Filter::default(), slice).await.expect("listed"), []);
    assert!(store.event(&stranger, &private.id).await.is_err());
    assert_eq!(store.firings_of_event(&stranger, &private.id).await.expect("read"), []);
    let done =
        store.event_handled(stranger.clone(), private.id.clone(), String::new(), vec![], at(1));
    assert!(done.await.is_err());
    let new_id = EventId::new(at(1), chance());
    let by = world.by.clone();
    assert!(store.replay_event(by, stranger.clone(), private.id, new_id, at(1)).await.is_err());
    let same = store.receive_event(stranger, event("a", "push"), at(1)).await.expect("kept");
    assert!(same.fresh, "another organisation's delivery is another event");
}
