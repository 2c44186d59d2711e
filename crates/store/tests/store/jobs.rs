//! Runs and jobs through their lives.

use windlass_run::{
    Duration, effect,
    job::{Outcome, Phase, Report},
};
use windlass_store::{
    Error,
    runs::{Counts, Filter, Slice, Standing},
    work::{Executor, GrantAnswer, Hold},
};

use crate::support::{
    TTL, World, all_well, at, chance, failed, pull_request, started, step_id, succeeded,
};

on_both! {
    a_run_goes_from_queued_to_succeeded_and_everything_agrees;
    the_same_request_starts_one_run;
    a_repeated_report_changes_nothing_and_a_gap_is_refused;
    a_failed_step_ends_the_job_with_its_reason;
    heartbeats_write_nothing_and_keep_the_lease;
    a_lost_lease_queues_the_job_again_and_its_runner_learns_it;
    after_a_restart_every_lease_has_one_fresh_term;
    another_runner_has_no_say_in_a_job;
    a_job_given_back_waits_for_another_runner;
    cancelling_a_run_ends_what_waits_and_asks_what_runs;
    an_effect_of_the_server_goes_through_the_outbox_once;
    an_ended_job_keeps_taking_records_of_what_happened_outside;
    many_jobs_are_leased_oldest_first_and_only_once;
    a_command_that_fails_in_the_database_takes_no_other_along;
    a_fleet_ends_with_its_last_job;
}

async fn a_run_goes_from_queued_to_succeeded_and_everything_agrees(mut world: World) {
    let run = world.start("Fix the flaky test", &["a", "b"]).await;
    assert!(run.fresh);
    let (row, jobs) = world.store.run(&world.organisation_id, &run.run_id).await.expect("there");
    assert_eq!((row.standing, jobs[0].standing), (Standing::Queued, Standing::Queued));
    world.now = at(5);
    let leased = world.lease(10).await.pop().expect("one job");
    assert_eq!((&leased.job_id, leased.epoch), (&run.job_ids[0], 1));
    let (row, _) = world.store.run(&world.organisation_id, &run.run_id).await.expect("there");
    assert_eq!((row.standing, row.started_at), (Standing::Running, Some(at(5))));
    world.now = at(9);
    let answer = world.report(world.reports(&leased, 1, all_well(&["a", "b"]))).await;
    assert_eq!((answer.hold, answer.accepted, answer.refused), (Hold::Ended, 4, None));
    let detail = world.store.job(&world.organisation_id, &run.job_ids[0]).await.expect("there");
    let Phase::Ended(end) = &detail.state.phase else { panic!("not ended: {detail:?}") };
    assert_eq!((end.outcome, end.code.as_str()), (Outcome::Succeeded, "done"));
    assert_eq!(detail.row.ended_at, Some(at(9)));
    let (row, _) = world.store.run(&world.organisation_id, &run.run_id).await.expect("there");
    assert_eq!(row.standing, Standing::Ended(Outcome::Succeeded));
    let counts = world.store.counts(&world.organisation_id, Some(&world.project_id)).await;
    assert_eq!(counts.expect("counted"), Counts { succeeded: 1, ..Counts::default() });
    let journal = world.store.journal(&world.organisation_id, &run.job_ids[0], 0, 100).await;
    let journal = journal.expect("there");
    assert!(journal.iter().map(|entry| entry.seq).eq(1..=detail.row.seq));
    let later = world.store.journal(&world.organisation_id, &run.job_ids[0], 4, 3).await;
    assert_eq!(later.expect("there"), journal[4..7]);
    world.check().await;
    world.reopen().await;
    world.check().await;
}

async fn the_same_request_starts_one_run(mut world: World) {
    let mut new = world.new_run("Once", vec![world.spec(&["a"])]);
    new.idempotency_key = Some("key-1".into());
    let first = world.store.create_run(world.by.clone(), new.clone(), world.now).await;
    let first = first.expect("started");
    world.reopen().await;
    let mut again = world.new_run("Once", vec![world.spec(&["a"])]);
    again.idempotency_key = Some("key-1".into());
    let second = world.store.create_run(world.by.clone(), again, world.now).await;
    let second = second.expect("started before");
    assert_eq!((second.run_id, second.fresh), (first.run_id.clone(), false));
    let mut other = world.new_run("Something else", vec![world.spec(&["a"])]);
    other.idempotency_key = Some("key-1".into());
    let refused = world.store.create_run(world.by.clone(), other, world.now).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");

    // Without a key the ids make it the same request.
    new.idempotency_key = None;
    let third = world.store.create_run(world.by.clone(), new.clone(), world.now).await;
    let third = third.expect("started before");
    assert_eq!((third.run_id, third.fresh), (first.run_id, false));
    new.jobs[0].id = windlass_run::JobId::new(world.now, chance());
    let refused = world.store.create_run(world.by.clone(), new, world.now).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    world.check().await;
}

async fn a_repeated_report_changes_nothing_and_a_gap_is_refused(world: World) {
    world.start("Twice", &["a", "b"]).await;
    let leased = world.lease(1).await.pop().expect("one job");
    let first = world.reports(&leased, 1, vec![started("a"), succeeded("a")]);
    let answer = world.report(first.clone()).await;
    let again = world.report(first).await;
    assert_eq!(answer, again);
    let gap = world.report(world.reports(&leased, 4, vec![started("b")])).await;
    assert_eq!((gap.hold, gap.accepted), (Hold::Held, 2));
    let expected = "report 4 came after 2: send the missing ones first";
    assert_eq!(gap.refused.as_deref(), Some(expected));
    let overlap = vec![succeeded("a"), started("b"), succeeded("b")];
    let rest = world.report(world.reports(&leased, 2, overlap.clone())).await;
    assert_eq!((rest.hold, rest.accepted), (Hold::Ended, 4));
    let after_the_end = world.report(world.reports(&leased, 2, overlap)).await;
    assert_eq!((after_the_end.hold, after_the_end.refused), (Hold::Ended, None));
    world.check().await;
}

async fn a_failed_step_ends_the_job_with_its_reason(world: World) {
    let run = world.start("Fails", &["a", "b"]).await;
    let leased = world.lease(1).await.pop().expect("one job");
    world.report(world.reports(&leased, 1, vec![started("a"), failed("a")])).await;
    let detail = world.store.job(&world.organisation_id, &run.job_ids[0]).await.expect("there");
    let end = detail.row.end.expect("ended");
    assert_eq!(
        (end.outcome, end.code.as_str(), end.reason.as_str()),
        (Outcome::Failed, "exit_code", "Step `a` failed: exit code 1")
    );
    world.check().await;
}

async fn heartbeats_write_nothing_and_keep_the_lease(mut world: World) {
    world.start("Slow", &["a"]).await;
    let leased = world.lease(1).await.pop().expect("one job");
    let before = world.store.stats().commits;
    for seconds in [20, 40, 60] {
        world.now = at(seconds);
        let answer = world.report(world.reports(&leased, 1, vec![])).await;
        assert_eq!(answer.hold, Hold::Held);
        let watched = world.store.watch(world.now).await.expect("watched");
        assert_eq!((watched.requeued.len(), watched.next), (0, Some(at(seconds + 30))));
    }
    assert_eq!(world.store.stats().commits, before);
    world.check().await;
}

async fn a_lost_lease_queues_the_job_again_and_its_runner_learns_it(mut world: World) {
    world.start("Lost", &["a", "b"]).await;
    let first = world.lease(1).await.pop().expect("one job");
    world.report(world.reports(&first, 1, vec![started("a"), succeeded("a"), started("b")])).await;
    world.now = at(30);
    let watched = world.store.watch(world.now).await.expect("watched");
    assert_eq!(watched.requeued, std::slice::from_ref(&first.job_id));
    assert_eq!(world.report(world.reports(&first, 4, vec![succeeded("b")])).await.hold, Hold::Lost);
    let second = world.lease(1).await.pop().expect("it waits again");
    assert_eq!((second.epoch, second.state.requeues), (2, 1));
    assert_eq!(world.report(world.reports(&first, 4, vec![succeeded("b")])).await.hold, Hold::Lost);
    let answer = world.report(world.reports(&second, 1, all_well(&["b"]))).await;
    assert_eq!(answer.hold, Hold::Ended);
    world.check().await;
}

async fn after_a_restart_every_lease_has_one_fresh_term(mut world: World) {
    world.start("Survives", &["a"]).await;
    let leased = world.lease(1).await.pop().expect("one job");
    // The lease would have run out at 30; the server is away from 10 to 100.
    world.now = at(100);
    world.reopen().await;
    assert_eq!(world.store.generation(), 2);
    let watched = world.store.watch(at(129)).await.expect("watched");
    assert_eq!((watched.requeued.len(), watched.next), (0, Some(at(130))));
    world.now = at(110);
    let answer = world.report(world.reports(&leased, 1, vec![started("a")])).await;
    assert_eq!((answer.hold, answer.accepted), (Hold::Held, 1));
    let watched = world.store.watch(at(139)).await.expect("watched");
    assert_eq!((watched.requeued.len(), watched.next), (0, Some(at(140))));
    let watched = world.store.watch(at(140)).await.expect("watched");
    assert_eq!(watched.requeued, [leased.job_id]);
    world.check().await;
}

async fn another_runner_has_no_say_in_a_job(world: World) {
    world.start("Mine", &["a"]).await;
    let leased = world.lease(1).await.pop().expect("one job");
    let other = world.another_runner("").await;
    let reports = world.reports(&leased, 1, all_well(&["a"]));
    let answers = world.store.report(other.clone(), vec![reports], TTL, world.now).await;
    assert_eq!(answers.expect("answered")[0].hold, Hold::Lost);
    let release = world.store.release(other, leased.job_id, 1, "mine now".into(), world.now).await;
    assert!(matches!(release, Err(Error::Refused(_))), "{release:?}");
    world.check().await;
}

async fn a_job_given_back_waits_for_another_runner(mut world: World) {
    world.start("Drained", &["a", "b"]).await;
    let leased = world.lease(1).await.pop().expect("one job");
    let mut reports = world.reports(&leased, 1, vec![started("a"), succeeded("a")]);
    reports.release = Some("the runner drains".into());
    assert_eq!(world.report(reports.clone()).await.hold, Hold::Lost);
    assert_eq!(world.report(reports).await.hold, Hold::Lost);
    assert_eq!(
        world.store.next_due(&world.organisation_id, &world.runner_id).await.expect("known"),
        Some(at(1))
    );
    assert_eq!(world.lease(1).await.len(), 0);
    world.now = at(1);
    let again = world.lease(1).await.pop().expect("due");
    assert_eq!((again.epoch, again.state.requeues), (2, 0));
    assert_eq!(world.report(world.reports(&again, 1, all_well(&["b"]))).await.hold, Hold::Ended);
    world.check().await;
}

async fn cancelling_a_run_ends_what_waits_and_asks_what_runs(mut world: World) {
    let new = world.new_run("Fleet", vec![world.spec(&["a"]), world.spec(&["a"])]);
    let run = world.store.create_run(world.by.clone(), new, world.now).await.expect("started");
    let leased = world.lease(1).await.pop().expect("one job");
    let asked = world
        .store
        .cancel_run(
            world.by.clone(),
            world.organisation_id.clone(),
            run.run_id.clone(),
            "wrong idea".into(),
            world.now,
        )
        .await;
    assert_eq!(asked.expect("asked"), run.job_ids);
    let (_, jobs) = world.store.run(&world.organisation_id, &run.run_id).await.expect("there");
    assert_eq!(jobs[1].standing, Standing::Ended(Outcome::Cancelled));
    assert_eq!(jobs[0].standing, Standing::Running);
    let answer = world.report(world.reports(&leased, 1, vec![])).await;
    assert_eq!(answer.cancel.expect("asked to stop").reason, "wrong idea");
    world.now = at(29);
    world.report(world.reports(&leased, 1, vec![])).await;
    world.now = at(30);
    let watched = world.store.watch(world.now).await.expect("watched");
    assert_eq!(watched.ended, [leased.job_id]);
    let (row, _) = world.store.run(&world.organisation_id, &run.run_id).await.expect("there");
    assert_eq!(row.standing, Standing::Ended(Outcome::Cancelled));
    let again = world
        .store
        .cancel_job(
            world.by.clone(),
            world.organisation_id.clone(),
            run.job_ids[0].clone(),
            "again".into(),
            world.now,
        )
        .await;
    assert!(matches!(again, Err(Error::Refused(_))), "{again:?}");
    world.check().await;
}

fn pull_request_done() -> effect::State {
    let url = "http://127.0.0.1/p/1".to_owned();
    effect::State::Done(effect::Outcome::PullRequest { number: 1, url })
}

async fn an_effect_of_the_server_goes_through_the_outbox_once(mut world: World) {
    let run = world.start("Publish", &["publish"]).await;
    let job_id = run.job_ids[0].clone();
    let leased = world.lease(1).await.pop().expect("one job");
    let (key, request) = pull_request(&job_id, "publish");
    let staged = Report::EffectStaged { step_id: step_id("publish"), key: key.clone(), request };
    let before = world.store.subscribe().borrow().outbox;
    world.report(world.reports(&leased, 1, vec![started("publish"), staged])).await;
    assert!(world.store.subscribe().borrow().outbox > before);
    let items = world.store.outbox(world.now, 10).await.expect("read");
    assert_eq!(items.iter().map(|item| &item.key).collect::<Vec<_>>(), [&key]);
    let server = || Executor::Server { name: "pull-requests".into() };
    let ttl = Duration::from_secs(20);
    let grant = async |world: &World, looked| {
        let (job_id, key) = (job_id.clone(), key.clone());
        world.store.grant(server(), job_id, key, ttl, looked, world.now).await.expect("answered")
    };
    let granted = grant(&world, false).await;
    assert!(matches!(granted, GrantAnswer::Effect(effect::State::Granted { .. })), "{granted:?}");
    let second = grant(&world, false).await;
    assert!(matches!(second, GrantAnswer::Refused(_)), "{second:?}");
    let put_off = world.store.put_off(key.clone(), "the forge is away".into(), at(60));
    put_off.await.expect("put off");
    assert_eq!(world.store.outbox(at(59), 10).await.expect("read"), []);
    world.reopen().await;
    world.now = at(60);
    let items = world.store.outbox(world.now, 10).await.expect("read");
    assert_eq!((items[0].tries, items[0].last_problem.as_deref()), (1, Some("the forge is away")));
    let without_looking = grant(&world, false).await;
    assert!(matches!(without_looking, GrantAnswer::Refused(_)), "{without_looking:?}");
    grant(&world, true).await;
    let record = || {
        let done = pull_request_done();
        world.store.record(server(), job_id.clone(), key.clone(), done, world.now)
    };
    assert_eq!(record().await.expect("recorded"), GrantAnswer::Effect(pull_request_done()));
    assert_eq!(record().await.expect("recorded"), GrantAnswer::Effect(pull_request_done()));
    assert_eq!(world.store.outbox(at(1_000), 10).await.expect("read"), []);
    let row = world.store.run(&world.organisation_id, &run.run_id).await.expect("there").1;
    assert_eq!(row[0].pull_request, Some((1, "http://127.0.0.1/p/1".to_owned())));
    let ledger = world.store.ledger(&world.organisation_id, &job_id).await.expect("read");
    assert_eq!(ledger[0].effect.state, pull_request_done());
    assert_eq!((ledger[0].staged_at, ledger[0].changed_at), (at(0), at(60)));
    let answer = world.report(world.reports(&leased, 3, vec![succeeded("publish")])).await;
    assert_eq!(answer.hold, Hold::Ended);
    world.check().await;
}

async fn an_ended_job_keeps_taking_records_of_what_happened_outside(world: World) {
    let run = world.start("Publish", &["publish"]).await;
    let job_id = run.job_ids[0].clone();
    let leased = world.lease(1).await.pop().expect("one job");
    let (key, request) = pull_request(&job_id, "publish");
    let staged = Report::EffectStaged { step_id: step_id("publish"), key: key.clone(), request };
    world.report(world.reports(&leased, 1, vec![started("publish"), staged])).await;
    let server = || Executor::Server { name: "pull-requests".into() };
    let ttl = Duration::from_secs(20);
    world
        .store
        .grant(server(), job_id.clone(), key.clone(), ttl, false, world.now)
        .await
        .expect("");
    world.report(world.reports(&leased, 3, vec![failed("publish")])).await;
    assert_eq!(world.store.outbox(world.now, 10).await.expect("read").len(), 1);
    let recorded = world.store.record(server(), job_id, key, pull_request_done(), world.now).await;
    assert_eq!(recorded.expect("recorded"), GrantAnswer::Effect(pull_request_done()));
    assert_eq!(world.store.outbox(world.now, 10).await.expect("read"), []);
    world.check().await;
}

async fn many_jobs_are_leased_oldest_first_and_only_once(mut world: World) {
    let mut job_ids = Vec::new();
    for n in 0..20 {
        job_ids.extend(world.start(&format!("Job {n}"), &["a"]).await.job_ids);
    }
    let (first, second, third) = tokio::join!(world.lease(8), world.lease(8), world.lease(8));
    let mut leased: Vec<_> = [first, second, third].concat();
    assert_eq!(leased.len(), 20);
    leased.sort_by(|a, b| a.job_id.cmp(&b.job_id));
    job_ids.sort();
    assert!(leased.iter().map(|leased| &leased.job_id).eq(&job_ids));
    world.reopen().await;
    assert_eq!(world.lease(8).await.len(), 0);
    world.check().await;
}

async fn a_command_that_fails_in_the_database_takes_no_other_along(world: World) {
    let known = world.new_run("Known", vec![world.spec(&["a"])]);
    world.store.create_run(world.by.clone(), known.clone(), world.now).await.expect("started");
    let mut twin = world.new_run("Twin", vec![world.spec(&["a"])]);
    twin.jobs[0].id = known.jobs[0].id.clone();
    let starts = (0..30).map(|n| {
        let new = match n {
            15 => twin.clone(),
            n => world.new_run(&format!("Run {n}"), vec![world.spec(&["a"])]),
        };
        let (store, by, now) = (world.store.clone(), world.by.clone(), world.now);
        tokio::spawn(async move { store.create_run(by, new, now).await })
    });
    let mut failures = 0;
    for start in starts.collect::<Vec<_>>() {
        failures += usize::from(start.await.expect("no panic").is_err());
    }
    assert_eq!(failures, 1);
    let slice = Slice { before: None, limit: 200 };
    let jobs = world.store.jobs(&world.organisation_id, Filter::default(), slice).await;
    assert_eq!(jobs.expect("listed").len(), 30);
    assert_eq!(world.lease(100).await.len(), 30);
    world.check().await;
}

async fn a_fleet_ends_with_its_last_job(world: World) {
    let new = world.new_run("Fleet", (0..3).map(|_| world.spec(&["a"])).collect());
    let run = world.store.create_run(world.by.clone(), new, world.now).await.expect("started");
    for (n, leased) in world.lease(3).await.iter().enumerate() {
        let result = if n == 1 { failed("a") } else { succeeded("a") };
        world.report(world.reports(leased, 1, vec![started("a"), result])).await;
    }
    let (row, _) = world.store.run(&world.organisation_id, &run.run_id).await.expect("there");
    assert_eq!(row.standing, Standing::Ended(Outcome::Failed));
    assert_eq!((row.tally.succeeded, row.tally.failed, row.tally.jobs), (2, 1, 3));
    world.check().await;
}
