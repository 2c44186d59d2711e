//! Environments that live by themselves: created once, placed where there is room, moved by what
//! their runner sees, limited, and gone without losing work.

use windlass_run::{
    Duration, EnvironmentId, RunnerId, Time,
    environment::{Command, Event, IDLE, Limits, Phase, Refusal, Seen, Spec, UNDO, Unpushed},
};
use windlass_store::{
    Error,
    environments::{EnvironmentRow, NewEnvironment, Observed, StartReport, Sync, Wanted, Work},
    work::{NewRunner, Registration},
};

use crate::support::{World, at, chance};

on_both! {
    one_is_created_once_and_its_name_is_its_own;
    limits_are_told_in_words;
    waiting_ones_are_placed_while_there_is_room;
    one_that_needs_labels_waits_for_a_runner_that_has_them;
    one_is_archived_when_its_own_time_has_come;
    a_fork_is_made_where_its_origin_is_and_nowhere_else;
    what_the_runner_sees_moves_it_and_a_stranger_is_not_heard;
    a_list_goes_on_where_it_ended;
    idle_ones_are_stopped_by_the_watch;
    a_lost_runner_loses_what_was_under_way_until_it_is_back;
    a_deleted_one_leaves_its_work_and_frees_its_name;
    numbers_go_on_after_a_restart;
}

fn spec(world: &World, name: &str) -> Spec {
    Spec {
        name: name.into(),
        project_id: world.project_id.clone(),
        base: "main".into(),
        network: vec![],
        idle: Some(IDLE),
        life: None,
        forked: None,
        runs_on: Default::default(),
        class: None,
        archive: Some(windlass_run::environment::ARCHIVE),
    }
}

fn new(world: &World, name: &str) -> NewEnvironment {
    NewEnvironment {
        id: EnvironmentId::new(world.now, chance()),
        organisation_id: world.organisation_id.clone(),
        owner: "ada".into(),
        spec: spec(world, name),
    }
}

async fn create(world: &World, new: NewEnvironment) -> Result<EnvironmentRow, Error> {
    let limits = Limits { of_person: 4, running_of_person: 3, of_project: 50 };
    world.store.create_environment(world.by.clone(), new, limits, world.now).await
}

async fn made(world: &World, name: &str) -> EnvironmentRow {
    create(world, new(world, name)).await.expect("created")
}

async fn give(
    world: &World,
    row: &EnvironmentRow,
    command: Command,
    now: Time,
) -> Result<EnvironmentRow, Refusal> {
    let (organisation_id, id) = (world.organisation_id.clone(), row.id.clone());
    let limits = Limits::default();
    let given = world.store.command_environment(
        world.by.clone(),
        organisation_id,
        id,
        command,
        limits,
        now,
    );
    given.await.expect("kept")
}

fn seen(row: &EnvironmentRow, seen: Seen) -> Observed {
    Observed {
        id: row.id.clone(),
        generation: row.state.generation,
        seen,
        active_at: None,
        unpushed: None,
        report: None,
        ended: Vec::new(),
    }
}

async fn sync_as(
    world: &World,
    runner_id: &RunnerId,
    capacity: u32,
    observed: Vec<Observed>,
    now: Time,
) -> Vec<EnvironmentRow> {
    let sync = Sync {
        organisation_id: world.organisation_id.clone(),
        runner_id: runner_id.clone(),
        capacity,
        observed,
    };
    world.store.sync_environments(sync, now).await.expect("synchronised")
}

async fn sync(world: &World, observed: Vec<Observed>) -> Vec<EnvironmentRow> {
    sync_as(world, &world.runner_id, 8, observed, world.now).await
}

async fn found(world: &World, row: &EnvironmentRow) -> EnvironmentRow {
    world.store.environment(&world.organisation_id, &row.id).await.expect("found")
}

async fn running(world: &World, name: &str) -> EnvironmentRow {
    let row = made(world, name).await;
    let wanted = sync(world, vec![]).await;
    let placed = wanted.into_iter().find(|wanted| wanted.id == row.id).expect("placed");
    sync(world, vec![seen(&placed, Seen::Running)]).await;
    found(world, &row).await
}

async fn one_is_created_once_and_its_name_is_its_own(world: World) {
    let first = new(&world, "api-1");
    let row = create(&world, first.clone()).await.expect("created");
    assert_eq!((row.state.phase.clone(), row.seq), (Phase::Creating, 1));
    assert_eq!(create(&world, first.clone()).await.expect("the same again"), row);
    let twin = create(&world, new(&world, "api-1")).await.expect_err("taken");
    assert_eq!(twin.to_string(), "there is an environment api-1 already");
    let other = NewEnvironment { spec: spec(&world, "api-2"), ..first };
    assert!(matches!(create(&world, other).await, Err(Error::Conflict { .. })));
    let bad = create(&world, new(&world, "Api")).await.expect_err("no name");
    assert!(matches!(&bad, Error::Invalid { why } if why.starts_with("name: ")), "{bad}");
    let named = world.store.environment_named(&world.organisation_id, "api-1").await;
    assert_eq!(named.expect("found"), row);
    let audit = world.store.audit(&world.organisation_id, None, 1).await.expect("read");
    assert_eq!(audit[0].command, "environment.create");
}

async fn limits_are_told_in_words(world: World) {
    for name in ["a", "b", "c"] {
        made(&world, name).await;
    }
    let full = create(&world, new(&world, "d")).await.expect_err("three run");
    let why = "3 of your environments run, and at most 3 may at once: stop one first, or start the server \
               with a higher --environments-running";
    assert_eq!(full.to_string(), why);
    let row = world.store.environment_named(&world.organisation_id, "a").await.expect("found");
    give(&world, &row, Command::Stop { why: "x".into() }, world.now).await.expect("stopped");
    made(&world, "d").await;
    let full = create(&world, new(&world, "e")).await.expect_err("four are there");
    let why = "you have 4 environments, and at most 4 are allowed: delete one first, or start the server \
               with a higher --environments-of-person";
    assert_eq!(full.to_string(), why);
    let of_ben = NewEnvironment { owner: "ben".into(), ..new(&world, "e") };
    create(&world, of_ben).await.expect("another person's");
    let limits = Limits { of_person: 9, running_of_person: 3, of_project: 9 };
    let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
    let started = world.store.command_environment(
        by,
        organisation_id,
        row.id.clone(),
        Command::Start,
        limits,
        world.now,
    );
    assert!(matches!(started.await, Err(Error::Invalid { .. })));
}

async fn waiting_ones_are_placed_while_there_is_room(world: World) {
    let (a, b) = (made(&world, "a").await, made(&world, "b").await);
    let wanted = sync_as(&world, &world.runner_id, 1, vec![], world.now).await;
    assert_eq!(wanted.iter().map(|row| &row.id).collect::<Vec<_>>(), [&a.id]);
    let full = sync_as(&world, &world.runner_id, 1, vec![], world.now).await;
    assert_eq!(full, wanted);
    let other = world.another_runner("").await;
    let wanted = sync_as(&world, &other, 1, vec![], world.now).await;
    assert_eq!(wanted.iter().map(|row| &row.id).collect::<Vec<_>>(), [&b.id]);
}

async fn one_that_needs_labels_waits_for_a_runner_that_has_them(world: World) {
    let with = async |name: &str, labels: &str| {
        let mut new = new(&world, name);
        new.spec.runs_on = labels.parse().expect("labels");
        create(&world, new).await.expect("created")
    };
    let gpu = with("gpu", "gpu").await;
    let plain = made(&world, "plain").await;
    let both = with("both", "big,gpu").await;
    // The first runner has no label: what needs one stands in nobody's way.
    let names = |rows: Vec<EnvironmentRow>| -> Vec<String> {
        rows.into_iter().map(|row| row.state.spec.name).collect()
    };
    assert_eq!(names(sync(&world, vec![]).await), ["plain"]);
    let other = RunnerId::new(world.now, chance());
    let runner =
        NewRunner { labels: "gpu,linux".parse().expect("labels"), ..world.runner(other.clone()) };
    let registration = Registration { runner, token_id: None, alive_since: world.now };
    world
        .store
        .register_runner(world.by.clone(), registration, world.now)
        .await
        .expect("it is there");
    assert_eq!(names(sync_as(&world, &other, 8, vec![], world.now).await), ["gpu"]);
    let waits = |row: &EnvironmentRow| row.state.phase == Phase::Creating;
    let all = Wanted::default();
    let rows = world.store.environments(&world.organisation_id, all, 10).await.expect("listed");
    let waiting: Vec<_> = rows.iter().filter(|row| waits(row)).map(|row| &row.id).collect();
    assert_eq!(waiting, [&both.id]);
    assert!(waits(&gpu) && waits(&plain), "as they were created");
}

async fn one_is_archived_when_its_own_time_has_come(world: World) {
    let days = |days: i64| Duration::from_secs(days * 24 * 3600);
    let kept = async |name: &str, archive: Option<Duration>| {
        let mut new = new(&world, name);
        new.spec.archive = archive;
        let row = create(&world, new).await.expect("created");
        let stop = Command::Stop { why: "enough".into() };
        give(&world, &row, stop, world.now).await.expect("it stops")
    };
    let (early, late, never) = (
        kept("early", Some(days(1))).await,
        kept("late", Some(days(30))).await,
        kept("never", None).await,
    );
    let archived = world.store.watch_environments(world.now + days(2)).await.expect("watched");
    assert_eq!(archived, [early.id]);
    let archived = world.store.watch_environments(world.now + days(3650)).await.expect("watched");
    assert_eq!(archived, [late.id]);
    let row =
        world.store.environment(&world.organisation_id, &never.id).await.expect("it is there");
    assert_eq!(row.state.phase.name(), "stopped");
}

async fn a_fork_is_made_where_its_origin_is_and_nowhere_else(world: World) {
    let fork_of = |row: &EnvironmentRow, name: &str| NewEnvironment {
        spec: Spec { forked: Some(row.id.clone()), ..spec(&world, name) },
        ..new(&world, name)
    };
    let waiting = made(&world, "waiting").await;
    let early = create(&world, fork_of(&waiting, "early")).await.expect_err("no work tree");
    assert_eq!(early.to_string(), "waiting has no work tree yet: it waits for a runner");
    let origin = running(&world, "origin").await;
    let fork = create(&world, fork_of(&origin, "fork")).await.expect("created");
    let other = world.another_runner("").await;
    let wanted = sync_as(&world, &other, 8, vec![], world.now).await;
    assert!(!wanted.iter().any(|row| row.id == fork.id), "its origin is not there");
    let wanted = sync(&world, vec![]).await;
    assert!(wanted.iter().any(|row| row.id == fork.id));
    let delete = Command::Delete { by: world.by.clone() };
    give(&world, &origin, delete, world.now).await.expect("deleted");
    let late = create(&world, fork_of(&origin, "late")).await.expect_err("it is going");
    assert_eq!(late.to_string(), "origin is being deleted: have it back first");
}

async fn what_the_runner_sees_moves_it_and_a_stranger_is_not_heard(world: World) {
    let row = running(&world, "a").await;
    assert_eq!(row.state.phase, Phase::Running);
    let stranger = RunnerId::new(world.now, chance());
    let broken = seen(&row, Seen::Failed { reason: "broke".into() });
    let told = sync_as(&world, &stranger, 8, vec![broken], world.now).await;
    assert_eq!(told, []);
    assert_eq!(found(&world, &row).await, row);
    let report = StartReport {
        stages: vec![("repository".into(), 12)],
        log: "hello\n".into(),
        offered: vec![(3000, "web".into())],
        ..StartReport::default()
    };
    let observed = Observed {
        report: Some(report.clone()),
        active_at: Some(at(60)),
        ..seen(&row, Seen::Running)
    };
    sync_as(&world, &world.runner_id, 8, vec![observed], at(61)).await;
    let after = found(&world, &row).await;
    assert_eq!((after.report, after.state.active_at, after.seq), (report, at(60), row.seq));
    let journal = world.store.environment_journal(&world.organisation_id, &row.id).await;
    let events: Vec<Event> =
        journal.expect("read").into_iter().flat_map(|entry| entry.events).skip(1).collect();
    let placed = Event::Placed { runner_id: world.runner_id.clone() };
    let starting = Event::Moved { phase: Phase::Starting { waits: None } };
    assert_eq!(events, [placed, starting, Event::Moved { phase: Phase::Running }]);
}

async fn a_list_goes_on_where_it_ended(world: World) {
    for name in ["a", "b", "c"] {
        made(&world, name).await;
    }
    let list = async |wanted: Wanted, limit| {
        let rows = world.store.environments(&world.organisation_id, wanted, limit).await;
        rows.expect("listed")
    };
    let first = list(Wanted::default(), 2).await;
    let names = |rows: &[EnvironmentRow]| -> Vec<String> {
        rows.iter().map(|row| row.state.spec.name.clone()).collect()
    };
    assert_eq!(names(&first), ["c", "b"]);
    let before = Some(first[1].number);
    assert_eq!(names(&list(Wanted { before, ..Wanted::default() }, 2).await), ["a"]);
    give(&world, &first[0], Command::Archive, world.now).await.expect("archived");
    assert_eq!(names(&list(Wanted::default(), 9).await), ["b", "a"]);
    assert_eq!(names(&list(Wanted { all: true, ..Wanted::default() }, 9).await), ["c", "b", "a"]);
    let archived = Wanted { phase: Some("archived".into()), ..Wanted::default() };
    assert_eq!(names(&list(archived, 9).await), ["c"]);
    let of_ben = Wanted { owner: Some("ben".into()), ..Wanted::default() };
    assert_eq!(names(&list(of_ben, 9).await), [""; 0]);
}

async fn idle_ones_are_stopped_by_the_watch(world: World) {
    let row = running(&world, "a").await;
    let early = world.store.watch_environments(at(1_700)).await.expect("looked");
    assert_eq!(early, []);
    let now = world.now + IDLE;
    assert_eq!(
        world.store.watch_environments(now).await.expect("looked"),
        std::slice::from_ref(&row.id)
    );
    let why = "Nothing happened in it for 30 min.".to_owned();
    assert_eq!(found(&world, &row).await.state.phase, Phase::Stopping { why });
    assert_eq!(world.store.watch_environments(now).await.expect("looked"), []);
}

async fn a_lost_runner_loses_what_was_under_way_until_it_is_back(world: World) {
    let row = running(&world, "a").await;
    let lose = async || {
        let why = "The runner is away.".to_owned();
        world.store.lose_environments(world.runner_id.clone(), why, world.now).await
    };
    assert_eq!(lose().await.expect("lost"), std::slice::from_ref(&row.id));
    assert_eq!(lose().await.expect("lost before"), []);
    assert_eq!(found(&world, &row).await.state.phase.reason(), Some("The runner is away."));
    sync(&world, vec![seen(&row, Seen::Running)]).await;
    assert_eq!(found(&world, &row).await.state.phase, Phase::Running);
}

async fn a_deleted_one_leaves_its_work_and_frees_its_name(world: World) {
    let row = running(&world, "a").await;
    let by = world.by.clone();
    let row = give(&world, &row, Command::Delete { by }, world.now).await.expect("deleted");
    let found_work = Unpushed { commit: "c0ffee".into(), files: 3 };
    let stopped =
        Observed { unpushed: Some(Some(found_work.clone())), ..seen(&row, Seen::Stopped) };
    sync(&world, vec![stopped]).await;
    assert_eq!(found(&world, &row).await.state.unpushed, Some(found_work));
    assert!(matches!(create(&world, new(&world, "a")).await, Err(Error::Conflict { .. })));

    let later = world.now + UNDO + Duration::from_secs(1);
    world.store.watch_environments(later).await.expect("looked");
    let row = found(&world, &row).await;
    let work = Work { commit: "c0ffee".into(), bytes: vec![7; 100_000], at: later };
    let stranger = RunnerId::new(world.now, chance());
    let keep = async |runner_id: RunnerId| {
        world.store.keep_environment_work(runner_id, row.id.clone(), work.clone()).await
    };
    assert!(!keep(stranger).await.expect("asked"), "a stranger's work is not kept");
    assert!(keep(world.runner_id.clone()).await.expect("kept"));
    let wanted = sync(&world, vec![seen(&row, Seen::Gone)]).await;
    assert_eq!(wanted.iter().map(|row| &row.state.phase).collect::<Vec<_>>(), [&Phase::Deleted]);
    let kept = world.store.environment_work(&world.organisation_id, &row.id).await;
    assert_eq!(kept.expect("read"), Some(work));
    made(&world, "a").await;
    world.check().await;
}

async fn numbers_go_on_after_a_restart(mut world: World) {
    let first = made(&world, "a").await;
    world.reopen().await;
    let second = made(&world, "b").await;
    assert!(second.number > first.number, "{} > {}", second.number, first.number);
}
