//! Automations: applied as a whole or not at all, each version kept, paused, pinned to runs.

use windlass_run::OrganisationId;
use windlass_store::{
    Error,
    automations::{Applied, Change, NewVersion, Origin, Outcome, Pinned},
    events::Slice,
};

use crate::support::{World, at, chance};

on_both! {
    every_version_is_kept_and_a_name_that_comes_back_goes_on_counting;
    what_can_not_be_applied_as_a_whole_changes_nothing;
    a_pause_lasts_through_new_versions_and_ends_with_a_removal;
    a_project_that_is_the_truth_is_known_until_somebody_ends_that;
    the_runs_of_an_automation_are_found_with_their_version;
}

const ALL: Slice = Slice { before: None, limit: 200 };

fn to(name: &str, expected: u64, text: &str) -> Change {
    let new =
        NewVersion { file: format!("{name}.yaml"), text: text.to_owned(), origin: Origin::Hand };
    Change { name: name.to_owned(), expected, to: Some(new) }
}

fn gone(name: &str, expected: u64) -> Change {
    Change { name: name.to_owned(), expected, to: None }
}

fn applied(name: &str, version: u64, outcome: Outcome) -> Applied {
    Applied { name: name.to_owned(), version, outcome }
}

async fn apply(world: &World, seconds: i64, changes: Vec<Change>) -> Result<Vec<Applied>, Error> {
    let organisation_id = world.organisation_id.clone();
    world
        .store
        .apply_automations(world.by.clone(), organisation_id, changes, None, at(seconds))
        .await
}

async fn names(world: &World) -> Vec<(String, u64, String)> {
    let all = world.store.automations(&world.organisation_id).await.expect("read");
    all.into_iter().map(|one| (one.name, one.current.version, one.current.text)).collect()
}

fn row(name: &str, version: u64, text: &str) -> (String, u64, String) {
    (name.to_owned(), version, text.to_owned())
}

async fn every_version_is_kept_and_a_name_that_comes_back_goes_on_counting(mut world: World) {
    let made = apply(&world, 1, vec![to("fix", 0, "one"), to("audit", 0, "a")]).await;
    let made = made.expect("applied");
    assert_eq!(made, [applied("fix", 1, Outcome::Created), applied("audit", 1, Outcome::Created)]);
    let next = apply(&world, 2, vec![to("fix", 1, "two"), to("audit", 1, "a")]).await;
    assert_eq!(
        next.expect("applied"),
        [applied("fix", 2, Outcome::Changed), applied("audit", 1, Outcome::Unchanged)]
    );
    assert_eq!(names(&world).await, [row("audit", 1, "a"), row("fix", 2, "two")]);
    let removed = apply(&world, 3, vec![gone("fix", 2)]).await.expect("removed");
    assert_eq!(removed, [applied("fix", 2, Outcome::Removed)]);
    let missing = world.store.automation(&world.organisation_id, "fix").await;
    assert!(matches!(missing, Err(Error::NotFound { what: "automation", .. })), "{missing:?}");
    // The same text as the last version, but it was gone: that is a new one.
    let back = apply(&world, 4, vec![to("fix", 0, "two")]).await.expect("back");
    assert_eq!(back, [applied("fix", 3, Outcome::Created)]);
    world.reopen().await;
    let organisation_id = &world.organisation_id;
    let versions = world.store.automation_versions(organisation_id, "fix", ALL).await;
    let versions: Vec<_> =
        versions.expect("read").into_iter().map(|v| (v.version, v.text, v.at)).collect();
    let then = |version, text: &str, seconds| (version, text.to_owned(), at(seconds));
    assert_eq!(versions, [then(3, "two", 4), then(2, "two", 2), then(1, "one", 1)]);
    let second = world.store.automation_version(organisation_id, "fix", 2).await.expect("read");
    assert_eq!((second.text.as_str(), second.by), ("two", world.by.clone()));
    let none = world.store.automation_version(organisation_id, "fix", 9).await;
    assert!(matches!(none, Err(Error::NotFound { .. })), "{none:?}");
    let stranger = OrganisationId::new(at(0), chance());
    assert_eq!(world.store.automations(&stranger).await.expect("read"), []);
    let audit = world.store.audit(organisation_id, None, 10).await.expect("read");
    let commands: Vec<_> = audit.iter().map(|entry| entry.command.as_str()).take(5).collect();
    let again = "automation.apply";
    assert_eq!(commands, [again, "automation.remove", again, again, again]);
}

async fn what_can_not_be_applied_as_a_whole_changes_nothing(world: World) {
    apply(&world, 1, vec![to("fix", 0, "one")]).await.expect("applied");
    for (change, wanted) in [
        (to("fix", 0, "other"), "there is an automation `fix` already, version 1"),
        (to("fix", 2, "other"), "the automation `fix` is at version 1 now, not at 2"),
        (gone("other", 1), "the automation `other` was removed meanwhile"),
    ] {
        let refused = apply(&world, 2, vec![to("new", 0, "n"), change]).await;
        let refused = refused.expect_err("looked at something else");
        assert!(matches!(&refused, Error::Conflict { why } if why.contains(wanted)), "{refused}");
    }
    let twice = apply(&world, 2, vec![to("new", 0, "n"), to("new", 0, "m")]).await;
    assert!(matches!(twice, Err(Error::Invalid { .. })), "{twice:?}");
    let missing = apply(&world, 2, vec![to("new", 0, "n"), gone("never", 0)]).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    assert_eq!(names(&world).await, [row("fix", 1, "one")]);
}

async fn a_pause_lasts_through_new_versions_and_ends_with_a_removal(world: World) {
    apply(&world, 1, vec![to("fix", 0, "one")]).await.expect("applied");
    let pause = |why: Option<&str>, seconds| {
        let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
        let why = why.map(str::to_owned);
        world.store.pause_automation(by, organisation_id, "fix".into(), why, at(seconds))
    };
    let hint = world.store.subscribe();
    let before = hint.borrow().automations;
    assert!(pause(Some("too loud"), 2).await.expect("paused"));
    assert!(!pause(Some("again"), 3).await.expect("it was"));
    assert_eq!(hint.borrow().automations, before + 1);
    apply(&world, 4, vec![to("fix", 1, "two")]).await.expect("applied");
    let found = world.store.automation(&world.organisation_id, "fix").await.expect("read");
    let paused = found.paused.expect("it is");
    assert_eq!((paused.why.as_str(), paused.at, paused.by), ("too loud", at(2), world.by.clone()));
    assert!(pause(None, 5).await.expect("resumed"));
    assert!(!pause(None, 6).await.expect("it was"));
    pause(Some("for good"), 7).await.expect("paused");
    apply(&world, 8, vec![gone("fix", 2)]).await.expect("removed");
    let missing = pause(Some("gone"), 9).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    apply(&world, 10, vec![to("fix", 0, "three")]).await.expect("back");
    let found = world.store.automation(&world.organisation_id, "fix").await.expect("read");
    assert_eq!(found.paused, None);
}

async fn a_project_that_is_the_truth_is_known_until_somebody_ends_that(world: World) {
    let (by, organisation_id) = (|| world.by.clone(), world.organisation_id.clone());
    let project_id = world.project_id.clone();
    for (n, commit) in ["c1", "c2"].iter().enumerate() {
        let source = Some((project_id.clone(), (*commit).to_owned()));
        let changes = vec![to("fix", n as u64, commit)];
        let done = world.store.apply_automations(
            by(),
            organisation_id.clone(),
            changes,
            source,
            at(n as i64 + 1),
        );
        done.await.expect("applied");
    }
    let sources = world.store.automation_sources(&organisation_id).await.expect("read");
    let sources: Vec<_> = sources.into_iter().map(|s| (s.project_id, s.commit, s.at)).collect();
    assert_eq!(sources, [(project_id.clone(), "c2".to_owned(), at(2))]);
    for ended in [true, false] {
        let done = world.store.end_automation_source(
            by(),
            organisation_id.clone(),
            project_id.clone(),
            at(3),
        );
        assert_eq!(done.await.expect("ended"), ended);
    }
    assert_eq!(world.store.automation_sources(&organisation_id).await.expect("read"), []);
    assert_eq!(names(&world).await, [row("fix", 2, "c2")]);
}

async fn the_runs_of_an_automation_are_found_with_their_version(world: World) {
    let pinned = |version| Pinned { automation: "fix".to_owned(), version, digest: "d".repeat(64) };
    let mut ids = Vec::new();
    for version in [Some(1), Some(2), None] {
        let mut new = world.new_run("fix", vec![world.spec(&["test"])]);
        new.automation = Some(pinned(version));
        let started = world.store.create_run(world.by.clone(), new, world.now).await;
        ids.push(started.expect("started").run_id);
    }
    let task = world.start("a task", &["test"]).await;
    let organisation_id = &world.organisation_id;
    let page = |before| Slice { before, limit: 2 };
    let first = world.store.runs_of_automation(organisation_id, "fix", page(None)).await;
    let first = first.expect("read");
    let rest = page(Some(first[1].run.number));
    let rest = world.store.runs_of_automation(organisation_id, "fix", rest).await.expect("read");
    let found: Vec<_> = first.into_iter().chain(rest).map(|one| (one.run.id, one.pinned)).collect();
    assert_eq!(
        found,
        [
            (ids[2].clone(), pinned(None)),
            (ids[1].clone(), pinned(Some(2))),
            (ids[0].clone(), pinned(Some(1))),
        ]
    );
    let of = world.store.automation_of_run(organisation_id, &ids[1]).await.expect("read");
    assert_eq!(of, Some(pinned(Some(2))));
    let none = world.store.automation_of_run(organisation_id, &task.run_id).await.expect("read");
    assert_eq!(none, None);
}
