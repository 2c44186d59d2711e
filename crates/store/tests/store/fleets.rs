//! Fleets: written in one batch, admitted, ended, retried, stopped, with rows and counts that agree.

use windlass_run::{
    JobId, ProjectId, RunId,
    fleet::{Command, Phase, Plan, Trouble, What, Which},
    job::Outcome,
};
use windlass_store::{
    Error,
    fleets::{
        Admit, Admitted, FleetRow, NewFleet, NewOperation, NewTarget, NotBegun, Pick, TargetFilter,
        TargetRow,
    },
    projects::Project,
    pulls::{Change, PullColumns},
    runs::{NewJob, Standing},
    work::{Executor, GrantAnswer},
};

use crate::support::{World, all_well, at, chance, failed, pull_request, started};

on_both! {
    all_targets_are_written_with_the_run_and_the_same_request_starts_it_once;
    a_target_has_a_job_only_once_it_was_admitted_and_never_two;
    rows_and_counts_agree_through_ends_retries_and_a_restart;
    a_target_that_can_not_be_begun_has_failed_without_a_job;
    a_pause_and_a_cancel_touch_no_target;
    a_change_is_counted_once_and_followed_to_its_end;
    what_is_done_to_many_changes_goes_on_where_it_was;
    targets_are_listed_in_pages_by_everything_they_say;
    fleets_of_another_organisation_are_not_there;
}

fn plan(json: serde_json::Value) -> Plan {
    serde_json::from_value(json).expect("a plan")
}

fn rings() -> Plan {
    let rings = serde_json::json!([{ "label": "canary", "most": 1 }, 3, "rest"]);
    plan(serde_json::json!({ "rollout": { "rings": rings }, "limits": { "parallel": 2 } }))
}

async fn new_fleet(world: &World, n: usize, plan: Plan) -> NewFleet {
    let mut targets = Vec::new();
    for place in 0..n {
        let id = ProjectId::new(world.now, chance());
        let name = format!("repo-{place}");
        let project = Project { id: id.clone(), ..world.project(&name) };
        world.store.create_project(world.by.clone(), project).await.expect("made");
        targets.push(NewTarget {
            project_id: id,
            repository: name,
            forge: "local".into(),
            owner: None,
            base: Some("main".into()),
            labels: if place == 4 { vec!["canary".into()] } else { Vec::new() },
        });
    }
    NewFleet {
        id: RunId::new(world.now, chance()),
        organisation_id: world.organisation_id.clone(),
        title: "upgrade".into(),
        automation: None,
        plan,
        frozen: "{}".into(),
        selected: serde_json::json!({ "labels": ["x"] }),
        targets,
        idempotency_key: None,
    }
}

async fn start(world: &World, n: usize, plan: Plan) -> FleetRow {
    let new = new_fleet(world, n, plan).await;
    let started = world.store.create_fleet(world.by.clone(), new, world.now).await;
    fleet(world, &started.expect("started").run_id).await
}

async fn fleet(world: &World, run_id: &RunId) -> FleetRow {
    let found = world.store.fleet(&world.organisation_id, run_id).await.expect("read");
    found.expect("it is there")
}

async fn targets(world: &World, fleet: &FleetRow, filter: TargetFilter) -> Vec<TargetRow> {
    world.store.targets(fleet, filter, 1_000).await.expect("listed")
}

fn names(targets: &[TargetRow]) -> Vec<&str> {
    targets.iter().map(|target| target.repository.as_str()).collect()
}

fn pick(world: &World, target: &TargetRow, steps: &[&str]) -> Pick {
    let mut spec = world.spec(steps);
    spec.target.project_id = target.project_id.clone();
    let title = format!("upgrade on {}", target.repository);
    let job = NewJob { id: JobId::new(world.now, chance()), title, spec };
    Pick { ordinal: target.ordinal, job: Ok(job) }
}

async fn admit(world: &World, fleet: &FleetRow, ring: u16, picks: Vec<Pick>) -> Admitted {
    let admit = Admit {
        organisation_id: world.organisation_id.clone(),
        run_id: fleet.run_id.clone(),
        ring,
        picks,
    };
    world.store.admit_targets(admit, world.now).await.expect("admitted")
}

/// Begins what is planned of a ring, as far as it may be.
async fn begin(world: &World, fleet: &FleetRow, ring: u16) -> Admitted {
    let filter = TargetFilter {
        within: Some(fleet.ring(ring)),
        state: Some("planned".into()),
        ..TargetFilter::default()
    };
    let planned = targets(world, fleet, filter).await;
    let picks = planned.iter().map(|target| pick(world, target, &["fix"])).collect();
    admit(world, fleet, ring, picks).await
}

/// Ends all jobs that wait: those whose place in the queue is named fail.
async fn end_jobs(world: &World, failing: &[usize]) -> usize {
    let leased = world.lease(10).await;
    for (n, lease) in leased.iter().enumerate() {
        let reports = match failing.contains(&n) {
            true => vec![started("fix"), failed("fix")],
            false => all_well(&["fix"]),
        };
        world.report(world.reports(lease, 1, reports)).await;
    }
    leased.len()
}

async fn command(world: &World, fleet: &FleetRow, command: Command) -> Result<(), Error> {
    let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
    let run_id = fleet.run_id.clone();
    world.store.command_fleet(by, organisation_id, run_id, command, world.now).await.map(|_| ())
}

async fn all_targets_are_written_with_the_run_and_the_same_request_starts_it_once(world: World) {
    let mut new = new_fleet(&world, 6, rings()).await;
    new.idempotency_key = Some("once".into());
    let started = world.store.create_fleet(world.by.clone(), new.clone(), at(0)).await;
    let started = started.expect("started");
    let again = NewFleet { id: RunId::new(at(0), chance()), ..new.clone() };
    let again = world.store.create_fleet(world.by.clone(), again, at(0)).await.expect("answered");
    assert_eq!((again.run_id, again.fresh), (started.run_id.clone(), false));
    let same = world.store.create_fleet(world.by.clone(), new.clone(), at(0)).await;
    assert!(!same.expect("answered").fresh);
    let other = NewFleet { title: "another".into(), ..new };
    let other = world.store.create_fleet(world.by.clone(), other, at(0)).await;
    assert!(matches!(other, Err(Error::Conflict { .. })), "{other:?}");
    let fleet = fleet(&world, &started.run_id).await;
    let all = targets(&world, &fleet, TargetFilter::default()).await;
    assert_eq!(names(&all), ["repo-4", "repo-0", "repo-1", "repo-2", "repo-3", "repo-5"]);
    assert_eq!([fleet.ring(0), fleet.ring(1), fleet.ring(2)], [(0, 1), (1, 3), (3, 6)]);
    let of: Vec<u16> = all.iter().map(|target| fleet.ring_of(target.ordinal)).collect();
    assert_eq!(of, [0, 1, 1, 2, 2, 2]);
    let (run, jobs) = world.store.run(&world.organisation_id, &fleet.run_id).await.expect("read");
    assert_eq!((run.standing, run.tally.jobs, jobs.len()), (Standing::Queued, 6, 0));
    world.check().await;
}

async fn a_target_has_a_job_only_once_it_was_admitted_and_never_two(world: World) {
    let fleet = start(&world, 6, rings()).await;
    let all = targets(&world, &fleet, TargetFilter::default()).await;
    let picks = |n: std::ops::Range<usize>| -> Vec<Pick> {
        all[n].iter().map(|target| pick(&world, target, &["fix"])).collect()
    };
    let none = admit(&world, &fleet, 2, picks(3..6)).await;
    assert_eq!(none, Admitted { left: 3, ..Admitted::default() }, "its ring is not open");
    assert_eq!(admit(&world, &fleet, 0, picks(0..1)).await.jobs.len(), 1);
    let twice = admit(&world, &fleet, 0, picks(0..1)).await;
    assert_eq!(twice, Admitted { left: 1, ..Admitted::default() });
    assert_eq!(end_jobs(&world, &[]).await, 1);
    assert_eq!(admit(&world, &fleet, 1, picks(1..3)).await.jobs.len(), 2, "the next ring is open");
    assert_eq!(end_jobs(&world, &[]).await, 2);
    let some = admit(&world, &fleet, 2, picks(3..6)).await;
    assert_eq!((some.jobs.len(), some.left), (2, 1), "two may run at once");
    world.check().await;
}

async fn rows_and_counts_agree_through_ends_retries_and_a_restart(mut world: World) {
    let begun = start(&world, 4, plan(serde_json::json!({ "rollout": { "stop_when": [] } }))).await;
    assert_eq!(begin(&world, &begun, 0).await.jobs.len(), 4);
    assert_eq!(end_jobs(&world, &[1, 2]).await, 4);
    let now = fleet(&world, &begun.run_id).await;
    assert!(matches!(now.state.phase, Phase::Settled { .. }), "{:?}", now.state.phase);
    let (run, _) = world.store.run(&world.organisation_id, &now.run_id).await.expect("read");
    assert_eq!(run.standing, Standing::Ended(Outcome::Failed));
    let red = TargetFilter { trouble: Some("red".into()), ..TargetFilter::default() };
    let troubled = targets(&world, &now, red.clone()).await;
    assert_eq!(troubled.len(), 2);
    assert!(troubled.iter().all(|target| target.reason.is_some()), "{troubled:?}");
    world.reopen().await;
    let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
    let which = Which::Trouble(Trouble::Red);
    let retried = world.store.retry_fleet(
        by.clone(),
        organisation_id.clone(),
        now.run_id.clone(),
        which.clone(),
        Some("mind the lock file".into()),
        world.now,
    );
    assert_eq!(retried.await.expect("planned again").phase, Phase::Going);
    let planned = TargetFilter { state: Some("planned".into()), ..TargetFilter::default() };
    let planned = targets(&world, &now, planned).await;
    let told: Vec<_> = planned.iter().map(|target| target.instruction.as_deref()).collect();
    assert_eq!(told, [Some("mind the lock file"); 2]);
    let (run, _) = world.store.run(&world.organisation_id, &now.run_id).await.expect("read");
    assert_eq!((run.standing, run.ended_at), (Standing::Running, None));
    assert_eq!(begin(&world, &now, 0).await.jobs.len(), 2);
    assert_eq!(end_jobs(&world, &[]).await, 2);
    let (run, jobs) = world.store.run(&world.organisation_id, &now.run_id).await.expect("read");
    assert_eq!((run.standing, jobs.len()), (Standing::Ended(Outcome::Succeeded), 6));
    assert_eq!(targets(&world, &now, red).await, []);
    let nothing =
        world.store.retry_fleet(by, organisation_id, now.run_id.clone(), which, None, world.now);
    assert!(matches!(nothing.await, Err(Error::Conflict { .. })));
    world.check().await;
}

async fn a_target_that_can_not_be_begun_has_failed_without_a_job(world: World) {
    let begun = start(&world, 2, plan(serde_json::json!({}))).await;
    let all = targets(&world, &begun, TargetFilter::default()).await;
    let refused = NotBegun { code: "unreachable".into(), reason: "the host is down".into() };
    let picks = vec![Pick { ordinal: 0, job: Err(refused) }, pick(&world, &all[1], &["fix"])];
    let admitted = admit(&world, &begun, 0, picks).await;
    assert_eq!((admitted.jobs.len(), admitted.not_begun), (1, 1));
    let all = targets(&world, &begun, TargetFilter::default()).await;
    let first = (all[0].state.as_str(), all[0].trouble.as_deref(), all[0].reason.as_deref());
    assert_eq!(first, ("failed", Some("unreachable"), Some("the host is down")));
    assert_eq!((all[0].job_id.as_ref(), all[0].attempt), (None, 1));
    world.check().await;
}

async fn a_pause_and_a_cancel_touch_no_target(world: World) {
    let begun = start(&world, 5, rings()).await;
    begin(&world, &begun, 0).await;
    let before = targets(&world, &begun, TargetFilter::default()).await;
    let reason = || "wait".to_owned();
    command(&world, &begun, Command::Pause { by: world.by.clone(), reason: reason() })
        .await
        .expect("paused");
    assert!(fleet(&world, &begun.run_id).await.state.hold.is_some());
    command(&world, &begun, Command::Resume { by: world.by.clone() }).await.expect("goes on");
    let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
    let run_id = begun.run_id.clone();
    world
        .store
        .cancel_run(by, organisation_id, run_id, reason(), world.now)
        .await
        .expect("stopped");
    let now = fleet(&world, &begun.run_id).await;
    assert!(matches!(now.state.phase, Phase::Cancelled(_)));
    assert_eq!(targets(&world, &begun, TargetFilter::default()).await, before);
    let live = world.store.live_fleets().await.expect("read");
    assert_eq!(live.len(), 1, "a job of it runs still");
    let running = world.store.running_jobs(&now, 10).await.expect("read");
    assert_eq!(running.len(), 1);
    let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
    world
        .store
        .cancel_job(by, organisation_id, running[0].clone(), reason(), world.now)
        .await
        .expect("stopped");
    assert_eq!(world.store.live_fleets().await.expect("read"), []);
    let (run, _) = world.store.run(&world.organisation_id, &now.run_id).await.expect("read");
    assert_eq!((run.standing, run.tally.cancelled), (Standing::Ended(Outcome::Cancelled), 5));
    let refused = command(&world, &begun, Command::Resume { by: world.by.clone() }).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    world.check().await;
}

fn columns(world: &World, state: &str, review: &str) -> PullColumns {
    PullColumns {
        title: "Fix it".into(),
        state: state.into(),
        review: review.into(),
        base: "main".into(),
        head: "windlass/x".into(),
        head_commit: "c0ffee".into(),
        opened_by: world.by.clone(),
        job_id: None,
        state_json: serde_json::json!({}),
    }
}

/// A fleet of one whose job has opened a pull request.
async fn with_a_change(world: &World) -> (FleetRow, ProjectId) {
    let begun =
        start(world, 1, plan(serde_json::json!({ "limits": { "changes_per_hour": 1 } }))).await;
    let target = targets(world, &begun, TargetFilter::default()).await.remove(0);
    let job_id = admit(world, &begun, 0, vec![pick(world, &target, &["fix"])]).await.jobs.remove(0);
    assert_eq!(world.store.change_not_before(&job_id, world.now).await.expect("asked"), None);
    let leased = world.lease(1).await.remove(0);
    let (key, request) = pull_request(&job_id, "fix");
    let staged = windlass_run::job::Report::EffectStaged {
        step_id: crate::support::step_id("fix"),
        key: key.clone(),
        request,
    };
    world.report(world.reports(&leased, 1, vec![started("fix"), staged])).await;
    let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
    let open =
        Change { columns: columns(world, "open", "none"), events: vec![1.into()], raise: vec![] };
    let make = move |_| open.clone();
    let project_id = target.project_id.clone();
    let opened = world.store.open_pull(by, organisation_id, project_id.clone(), world.now, make);
    assert_eq!(opened.await.expect("opened"), 1);
    let server = || Executor::Server { name: "effects".into() };
    let ttl = windlass_run::Duration::from_secs(10);
    let granted = world.store.grant(server(), job_id.clone(), key.clone(), ttl, false, world.now);
    assert!(matches!(granted.await.expect("granted"), GrantAnswer::Effect(_)));
    let outcome =
        windlass_run::effect::Outcome::PullRequest { number: 1, url: "http://x/1".into() };
    let done = windlass_run::effect::State::Done(outcome);
    for _ in 0..2 {
        let recorded =
            world.store.record(server(), job_id.clone(), key.clone(), done.clone(), world.now);
        recorded.await.expect("recorded");
    }
    (fleet(world, &begun.run_id).await, project_id)
}

async fn a_change_is_counted_once_and_followed_to_its_end(world: World) {
    let (begun, project_id) = with_a_change(&world).await;
    let changes = begun.state.rings[0].changes;
    assert_eq!((changes.open, changes.all()), (1, 1));
    let mut version = 1;
    for (state, review, stands) in [
        ("open", "changes_requested", "sent_back"),
        ("open", "approved", "approved"),
        ("merged", "approved", "merged"),
    ] {
        let change = Change {
            columns: columns(&world, state, review),
            events: vec![2.into()],
            raise: vec![],
        };
        let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
        let project_id = project_id.clone();
        let changed =
            world.store.change_pull(by, organisation_id, project_id, 1, version, change, world.now);
        version = changed.await.expect("changed");
        let target = targets(&world, &begun, TargetFilter::default()).await.remove(0);
        assert_eq!(target.review.as_deref(), Some(stands));
    }
    let changes = fleet(&world, &begun.run_id).await.state.rings[0].changes;
    assert_eq!((changes.merged, changes.all()), (1, 1));
    let known = world.store.changes_of(&begun).await.expect("read");
    assert_eq!((known[0].head_commit.as_str(), known[0].summary.as_deref()), ("c0ffee", None));
    world.check().await;
}

async fn what_is_done_to_many_changes_goes_on_where_it_was(mut world: World) {
    let begun = start(&world, 3, plan(serde_json::json!({}))).await;
    let new = NewOperation {
        what: What::Approve,
        detail: serde_json::json!({ "body": "good" }),
        todo: vec![2, 0],
    };
    let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
    let run_id = begun.run_id.clone();
    let number = world
        .store
        .begin_operation(by, organisation_id, run_id, new, world.now)
        .await
        .expect("begun");
    let mut through = Vec::new();
    for outcome in [Ok(()), Err("it conflicts".to_owned())] {
        world.reopen().await;
        let begun = fleet(&world, &begun.run_id).await;
        let taken = world.store.next_of_operation(&begun).await.expect("read").expect("there");
        through.push(taken.ordinal);
        for _ in 0..2 {
            let organisation_id = world.organisation_id.clone();
            let run_id = begun.run_id.clone();
            let (taken, outcome) = (taken.clone(), outcome.clone());
            let done = world.store.through(organisation_id, run_id, taken, outcome, world.now);
            done.await.expect("written");
        }
    }
    assert_eq!(through, [2, 0]);
    let now = fleet(&world, &begun.run_id).await;
    assert_eq!(world.store.next_of_operation(&now).await.expect("read"), None);
    let operation = &now.state.operations[0];
    assert_eq!((operation.number, operation.done, operation.failed), (number, 1, 1));
    let rows = world.store.operations(&now, 10).await.expect("read");
    assert_eq!(
        (rows[0].through, &rows[0].failures[..]),
        (2, &[(0, "it conflicts".to_owned())][..])
    );
    world.check().await;
}

async fn targets_are_listed_in_pages_by_everything_they_say(world: World) {
    let begun = start(&world, 6, plan(serde_json::json!({ "rollout": { "stop_when": [] } }))).await;
    begin(&world, &begun, 0).await;
    let leased = world.lease(3).await;
    for (n, lease) in leased.iter().enumerate() {
        let end = if n == 1 { failed("fix") } else { crate::support::succeeded("fix") };
        world.report(world.reports(lease, 1, vec![started("fix"), end])).await;
    }
    let all = TargetFilter::default;
    let text = |text: &str| Some(text.to_owned());
    for (filter, wanted) in [
        (TargetFilter { state: text("running"), ..all() }, &["repo-3", "repo-4", "repo-5"][..]),
        (TargetFilter { state: text("succeeded"), ..all() }, &["repo-0", "repo-2"]),
        (TargetFilter { kind: text("exit_code"), ..all() }, &["repo-1"]),
        (TargetFilter { after: Some(3), ..all() }, &["repo-4", "repo-5"]),
        (TargetFilter { within: Some((2, 4)), ..all() }, &["repo-2", "repo-3"]),
        (TargetFilter { cluster: text("c"), ..all() }, &[]),
        (TargetFilter { review: text("open"), ..all() }, &[]),
    ] {
        let found = targets(&world, &begun, filter.clone()).await;
        assert_eq!(names(&found), wanted, "{filter:?}");
    }
    let cells = world.store.cells(&begun).await.expect("read");
    let states: Vec<_> = cells.iter().map(|cell| cell.state.as_str()).collect();
    assert_eq!(states, ["succeeded", "failed", "succeeded", "running", "running", "running"]);
    let points = world.store.fleet_points(&begun).await.expect("read");
    let last = points.last().expect("one");
    assert_eq!((last.running, last.succeeded, last.failed), (3, 2, 1));
    world.check().await;
}

async fn fleets_of_another_organisation_are_not_there(world: World) {
    let begun = start(&world, 1, plan(serde_json::json!({}))).await;
    let other = windlass_run::OrganisationId::new(at(0), chance());
    assert_eq!(world.store.fleet(&other, &begun.run_id).await.expect("read"), None);
    assert_eq!(world.store.fleets(&other, None, 10).await.expect("read"), []);
    let pause = Command::Pause { by: world.by.clone(), reason: String::new() };
    let refused =
        world.store.command_fleet(world.by.clone(), other, begun.run_id, pause, world.now).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
}
