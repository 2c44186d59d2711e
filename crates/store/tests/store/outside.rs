//! Projects, pull requests of the local forge, remembered answers.

use serde_json::json;
use windlass_run::{
    EventId, OrganisationId, ProjectId, Time,
    event::{Ancestry, Event, Trust},
};
use windlass_store::{
    Error,
    intake::Answer,
    projects::Project,
    pulls::{Change, PullColumns, PullFilter},
};

use crate::support::{World, at, chance};

on_both! {
    a_project_is_made_changed_and_put_away;
    a_sealed_secret_comes_back_as_it_was;
    pull_requests_are_numbered_and_their_journal_has_no_gaps;
    two_changes_to_one_pull_request_do_not_overwrite_each_other;
    pull_requests_are_listed_newest_change_first;
    what_is_told_of_a_pull_request_is_kept_with_it_or_not_at_all;
    an_answer_is_remembered_for_its_request_only;
}

async fn a_project_is_made_changed_and_put_away(world: World) {
    let (store, by) = (&world.store, || world.by.clone());
    let organisation_id = &world.organisation_id;
    let twin = Project { id: ProjectId::new(at(0), chance()), ..world.project("billing") };
    let refused = store.create_project(by(), twin.clone()).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    let mut billing = store.project_named(organisation_id, "billing").await.expect("found");
    billing.default_branch = None;
    billing.settings = json!({ "notes": ["naïve \u{0} text"] });
    store.update_project(by(), billing.clone(), at(1)).await.expect("changed");
    assert_eq!(store.project(organisation_id, &billing.id).await.expect("found"), billing);
    billing.archived_at = Some(at(2));
    store.update_project(by(), billing.clone(), at(2)).await.expect("put away");
    assert!(store.project_named(organisation_id, "billing").await.is_err());
    assert_eq!(store.projects(organisation_id, None, 10).await.expect("listed"), []);
    let new = world.new_run("In a project that was put away", vec![world.spec(&["a"])]);
    let started = store.create_run(by(), new, at(3)).await;
    assert!(matches!(started, Err(Error::NotFound { what: "project", .. })), "{started:?}");
    store.create_project(by(), twin.clone()).await.expect("the name is free again");
    assert_eq!(store.projects(organisation_id, None, 10).await.expect("listed"), [twin]);
    assert_eq!(store.projects(organisation_id, Some("billing"), 10).await.expect("listed"), []);
    let stranger = OrganisationId::new(at(0), chance());
    assert!(store.project(&stranger, &billing.id).await.is_err());
}

async fn a_sealed_secret_comes_back_as_it_was(world: World) {
    let store = &world.store;
    for sealed in [vec![0, 1, 255], vec![7; 1_000]] {
        let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
        let project_id = world.project_id.clone();
        let kept = store.seal_secret(
            by,
            organisation_id,
            project_id,
            "github".into(),
            sealed.clone(),
            at(1),
        );
        kept.await.expect("kept");
        let back = store.sealed_secret(&world.organisation_id, &world.project_id, "github").await;
        assert_eq!(back.expect("read"), Some(sealed));
    }
    let stranger = OrganisationId::new(at(0), chance());
    let none = store.sealed_secret(&stranger, &world.project_id, "github").await;
    assert_eq!(none.expect("read"), None);
}

fn columns(world: &World, title: &str, head: &str) -> PullColumns {
    PullColumns {
        title: title.into(),
        state: "open".into(),
        review: "none".into(),
        base: "main".into(),
        head: head.into(),
        head_commit: "c0ffee".into(),
        opened_by: world.by.clone(),
        job_id: None,
        state_json: json!({ "title": title, "comments": [] }),
    }
}

async fn open(world: &World, title: &str, head: &str, now: Time) -> Result<u64, Error> {
    let columns = columns(world, title, head);
    let make = move |number| Change {
        columns: columns.clone(),
        events: vec![json!({ "opened": number })],
        raise: vec![told(&format!("pull/{number}"))],
    };
    let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
    world.store.open_pull(by, organisation_id, world.project_id.clone(), now, make).await
}

async fn change(
    world: &World,
    number: u64,
    version: u64,
    columns: PullColumns,
    now: Time,
) -> Result<u64, Error> {
    let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
    let (project_id, events) = (world.project_id.clone(), vec![json!("x"), json!("y")]);
    let raise = vec![told(&format!("pull/{number}/{version}"))];
    let change = Change { columns, events, raise };
    world.store.change_pull(by, organisation_id, project_id, number, version, change, now).await
}

/// What triggers would be told.
fn told(delivery: &str) -> Event {
    Event {
        id: EventId::new(at(1), chance()),
        source: "local/billing".into(),
        delivery: delivery.into(),
        kind: "pull_request".into(),
        subject: None,
        time: at(1),
        project_id: None,
        actor: None,
        trust: Trust::Own,
        ancestry: Ancestry::default(),
        data: json!({}),
    }
}

async fn what_is_told_of_a_pull_request_is_kept_with_it_or_not_at_all(world: World) {
    open(&world, "First", "windlass/a", at(1)).await.expect("opened");
    open(&world, "Twin", "windlass/a", at(2)).await.expect_err("refused");
    let new = columns(&world, "First!", "windlass/a");
    change(&world, 1, 1, new.clone(), at(3)).await.expect("changed");
    change(&world, 1, 1, new, at(4)).await.expect_err("it has changed meanwhile");
    let told = world.store.unhandled_events(0, 10).await.expect("read");
    let told: Vec<_> = told.into_iter().map(|kept| kept.event.delivery).collect();
    assert_eq!(told, ["pull/1", "pull/1/1"]);
}

async fn pull_requests_are_numbered_and_their_journal_has_no_gaps(mut world: World) {
    assert_eq!(open(&world, "First", "windlass/a", at(1)).await.expect("opened"), 1);
    assert_eq!(open(&world, "Second", "windlass/b", at(2)).await.expect("opened"), 2);
    let twin = open(&world, "Twin", "windlass/a", at(3)).await.expect_err("refused").to_string();
    assert_eq!(twin, "pull request #1 for `windlass/a` into `main` is open already");
    let merged = PullColumns { state: "merged".into(), ..columns(&world, "First!", "windlass/a") };
    assert_eq!(change(&world, 1, 1, merged.clone(), at(4)).await.expect("changed"), 3);
    world.reopen().await;
    assert_eq!(open(&world, "Again", "windlass/a", at(5)).await.expect("opened"), 3);
    let reopened = PullColumns { state: "open".into(), ..merged.clone() };
    let refused = change(&world, 1, 3, reopened, at(6)).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    let organisation_id = &world.organisation_id;
    let row = world.store.pull(organisation_id, &world.project_id, 1).await.expect("found");
    assert_eq!((row.columns, row.version, row.updated_at), (merged, 3, at(4)));
    let events = world.store.pull_events(organisation_id, &world.project_id, 1, 0, 10).await;
    let events = events.expect("read");
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(events[0].event, json!({ "opened": 1 }));
    let head = world.store.open_pull_with_head(organisation_id, &world.project_id, "windlass/a");
    assert_eq!(head.await.expect("read").expect("there").number, 3);
    world.check().await;
}

async fn two_changes_to_one_pull_request_do_not_overwrite_each_other(world: World) {
    open(&world, "One", "windlass/a", at(1)).await.expect("opened");
    let (first, second) = tokio::join!(
        change(&world, 1, 1, columns(&world, "Mine", "windlass/a"), at(2)),
        change(&world, 1, 1, columns(&world, "Yours", "windlass/a"), at(2)),
    );
    assert_eq!([&first, &second].iter().filter(|answer| answer.is_ok()).count(), 1);
    let loser = if first.is_ok() { second } else { first };
    assert!(matches!(loser, Err(Error::Conflict { .. })), "{loser:?}");
}

async fn pull_requests_are_listed_newest_change_first(world: World) {
    for n in 0..7 {
        let title = format!("Bump the parser to {n}");
        open(&world, &title, &format!("windlass/{n}"), at(n)).await.expect("opened");
    }
    let closed = PullColumns { state: "closed".into(), ..columns(&world, "Old", "windlass/2") };
    change(&world, 3, 1, closed, at(20)).await.expect("changed");
    let list = |filter: PullFilter, limit| {
        let (store, organisation_id) = (world.store.clone(), world.organisation_id.clone());
        async move { store.pulls(&organisation_id, filter, limit).await.expect("listed") }
    };
    let numbers = |rows: &[windlass_store::pulls::PullRow]| -> Vec<u64> {
        rows.iter().map(|row| row.number).collect()
    };
    let first = list(PullFilter::default(), 4).await;
    assert_eq!(numbers(&first), [3, 7, 6, 5]);
    let last = &first[3];
    let before = Some((last.updated_at, last.project_id.clone(), last.number));
    let rest = list(PullFilter { before, ..PullFilter::default() }, 10).await;
    assert_eq!(numbers(&rest), [4, 2, 1]);
    let state = Some("open".to_owned());
    let project_id = Some(world.project_id.clone());
    let open = list(PullFilter { state, project_id, ..PullFilter::default() }, 10).await;
    assert_eq!(numbers(&open), [7, 6, 5, 4, 2, 1]);
    let search = |text: &str| PullFilter { search: Some(text.into()), ..PullFilter::default() };
    assert_eq!(numbers(&list(search("parser 6"), 10).await), [7]);
    assert_eq!(numbers(&list(search("old"), 10).await), [3]);
    assert_eq!(list(search("parser 2"), 10).await, []);
}

async fn an_answer_is_remembered_for_its_request_only(world: World) {
    let answer = |request: &str, body: &str| Answer {
        request: request.into(),
        status: 201,
        body: body.into(),
    };
    let (store, organisation_id) = (&world.store, &world.organisation_id);
    let remember = |answer| {
        store.remember(world.by.clone(), organisation_id.clone(), "k".into(), answer, at(1))
    };
    let first = remember(answer("r", "one")).await.expect("kept");
    assert_eq!(remember(answer("r", "two")).await.expect("the first counts"), first);
    assert!(matches!(remember(answer("s", "x")).await, Err(Error::Conflict { .. })));
    let found = store.remembered(&world.by, organisation_id, "k", "r").await.expect("read");
    assert_eq!(found, Some(first));
    let other = store.remembered(&world.by, organisation_id, "k", "s").await;
    assert!(matches!(other, Err(Error::Conflict { .. })), "{other:?}");
    assert_eq!(store.remembered(&world.by, organisation_id, "z", "r").await.expect("read"), None);
}
