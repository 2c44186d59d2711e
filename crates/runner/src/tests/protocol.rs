//! Leases, reports, streams and their faults, with executors that need no environment.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use windlass_gateway::Secret;
use windlass_policy::redact::Redactor;
use windlass_run::{
    actor::By,
    job::{Cancel, Command, Event, GiveUp, Outcome, StepResult},
    spec::Retry,
};

use super::world::{World, now, run_step};
use crate::{
    Options, Providers, Runner,
    executor::{Attempted, Executor, Unopened, Work},
    job::Job,
    null::Null,
};

pub(super) fn options(url: &str, state_dir: &std::path::Path) -> Options {
    Options {
        server_url: url.to_owned(),
        token: Secret::new("a token of no worth"),
        server_certificate: None,
        state_dir: state_dir.to_owned(),
        capacity: 4,
        name: "test".to_owned(),
        supervisor_argv: vec![],
        windlass_exe: "/nowhere/windlass".into(),
        agents_dir: None,
        providers: Providers::default(),
        replay_dir: None,
        environments: 0,
        labels: Default::default(),
        network: Default::default(),
        binds: vec![],
        path: vec![],
        environment: vec![],
        backend: Default::default(),
        engine_socket: "/nowhere/docker.sock".into(),
        first_process: vec![],
        default_image: None,
        registries: Default::default(),
        image_bytes: 1 << 30,
        ca_bundle: None,
        limits: Default::default(),
        layers: Default::default(),
        environment_definition: Default::default(),
        stock: Default::default(),
        clock: Arc::new(now),
        null_executor: true,
    }
}

/// An executor that plays a script: one entry per attempt.
#[derive(Clone, Default)]
struct Script(Arc<Played>);

#[derive(Default)]
struct Played {
    script: Mutex<VecDeque<Act>>,
    began: Notify,
    go_on: Notify,
    closed: Mutex<u32>,
    opened: Mutex<u32>,
}

enum Act {
    End(StepResult),
    /// Prints, waits for a nudge, then ends well.
    PrintAndWait(&'static str),
    /// Never ends, whatever it is told.
    Hang,
}

impl Script {
    fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        let script = Self::default();
        script.0.script.lock().expect("not poisoned").extend(acts);
        script
    }
}

impl Executor for Script {
    fn open(&self, job: Arc<Job>) -> BoxFuture<'_, Result<Box<dyn Work>, Unopened>> {
        *self.0.opened.lock().expect("not poisoned") += 1;
        Box::pin(async move {
            Ok(Box::new(ScriptWork { job, played: self.0.clone() }) as Box<dyn Work>)
        })
    }
}

struct ScriptWork {
    job: Arc<Job>,
    played: Arc<Played>,
}

impl Work for ScriptWork {
    fn attempt(
        &self,
        index: usize,
        attempt: u32,
        stop: CancellationToken,
    ) -> BoxFuture<'static, Attempted> {
        let act = self.played.script.lock().expect("not poisoned").pop_front();
        let step_id = self.job.look(|state| state.steps[index].id.clone());
        let (job, played) = (self.job.clone(), self.played.clone());
        Box::pin(async move {
            played.began.notify_one();
            match act.unwrap_or(Act::End(StepResult::succeeded(None))) {
                Act::End(result) => Attempted::Ended(result),
                Act::PrintAndWait(text) => {
                    let log = job.held.open_log(&step_id, attempt, &Redactor::nothing());
                    log.append(text.as_bytes()).expect("written");
                    log.finish().expect("written");
                    tokio::select! {
                        () = played.go_on.notified() => {}
                        () = stop.cancelled() => {}
                    }
                    Attempted::Ended(StepResult::succeeded(None))
                }
                Act::Hang => std::future::pending().await,
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        *self.played.closed.lock().expect("not poisoned") += 1;
        Box::pin(async {})
    }
}

async fn start(world: &World, dir: &tempfile::TempDir, executor: impl Executor) -> Runner {
    Runner::start_with(options(world.url(), dir.path()), Arc::new(executor))
        .await
        .expect("a runner")
}

fn failure(reason: &str) -> Act {
    Act::End(StepResult::Failed { code: "command".to_owned(), reason: reason.to_owned() })
}

/// The journal in short words.
fn story(world: &World, job_id: &windlass_run::JobId) -> Vec<String> {
    let words = world.journal(job_id).into_iter().filter_map(|event| match event {
        Event::Leased { epoch, .. } => Some(format!("leased {epoch}")),
        Event::StepStarted { step_id, attempt } => Some(format!("{step_id} {attempt}")),
        Event::StepSucceeded { step_id, .. } => Some(format!("{step_id} well")),
        Event::StepRetried { reason, .. } => Some(format!("again: {reason}")),
        Event::StepFailed { reason, .. } => Some(format!("failed: {reason}")),
        Event::Requeued { reason, .. } => Some(format!("requeued: {reason}")),
        Event::Ended(end) => Some(format!("{:?} {}", end.outcome, end.code)),
        _ => None,
    });
    words.collect()
}

#[tokio::test]
async fn many_jobs_run_through_one_runner_and_each_step_is_reported_once() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let jobs: Vec<_> = (0..300)
        .map(|_| {
            world.add(vec![run_step("a", "true"), run_step("b", "true"), run_step("c", "true")])
        })
        .collect();
    let mut options = options(world.url(), dir.path());
    options.capacity = 64;
    let runner = Runner::start_with(options, Arc::new(Null)).await.expect("a runner");
    for job_id in &jobs {
        assert_eq!(world.ended(job_id).await.outcome, Outcome::Succeeded);
        assert_eq!(
            story(&world, job_id),
            ["leased 1", "a 1", "a well", "b 1", "b well", "c 1", "c well", "Succeeded done"]
        );
    }
    runner.drain().await;
    assert_eq!(
        std::fs::read_dir(dir.path().join("leases")).map(|entries| entries.count()).unwrap_or(0),
        0
    );
}

#[tokio::test]
async fn a_failed_attempt_is_repeated_in_a_fresh_place_and_the_last_failure_ends_the_job() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let mut step = run_step("build", "make");
    step.retry = Retry {
        attempts: 2,
        backoff: windlass_run::Duration::from_millis(5),
        backoff_cap: windlass_run::Duration::from_secs(1),
        on: Vec::new(),
    };
    let job_id = world.add(vec![step]);
    let script = Script::new([failure("no disk"), failure("no compiler")]);
    let runner = start(&world, &dir, script.clone()).await;
    world.ended(&job_id).await;
    assert_eq!(
        story(&world, &job_id),
        [
            "leased 1",
            "build 1",
            "again: no disk",
            "build 2",
            "failed: no compiler",
            "Failed command"
        ]
    );
    runner.drain().await;
    assert_eq!(
        (*script.0.opened.lock().expect("ok"), *script.0.closed.lock().expect("ok")),
        (2, 2)
    );
}

#[tokio::test]
async fn a_give_up_ends_the_job_with_its_report() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let job_id = world.add(vec![run_step("fix", "x"), run_step("never", "x")]);
    let give_up = GiveUp {
        tried: vec!["an upgrade".to_owned()],
        stopped_because: "the registry is closed".to_owned(),
        would_unblock: "open it".to_owned(),
    };
    let script = Script::new([Act::End(StepResult::GaveUp(give_up.clone()))]);
    let runner = start(&world, &dir, script).await;
    let end = world.ended(&job_id).await;
    assert_eq!((end.outcome, end.give_up), (Outcome::GaveUp, Some(give_up)));
    runner.drain().await;
}

#[tokio::test]
async fn answers_that_are_lost_double_nothing() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let runner = start(&world, &dir, Null).await;
    for round in 0..10 {
        world.lose_answers(1 + round % 3);
        let job_id = world.add(vec![run_step("a", "true"), run_step("b", "true")]);
        world.ended(&job_id).await;
        assert_eq!(
            story(&world, &job_id),
            ["leased 1", "a 1", "a well", "b 1", "b well", "Succeeded done"]
        );
    }
    runner.drain().await;
}

#[tokio::test]
async fn a_job_goes_on_while_the_server_is_away_and_everything_arrives_later() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let job_id = world.add(vec![run_step("a", "x"), run_step("b", "x")]);
    let script = Script::new([Act::PrintAndWait("one\n"), Act::PrintAndWait("two\n")]);
    let runner = start(&world, &dir, script.clone()).await;
    script.0.began.notified().await;
    world.set_away(true);
    script.0.go_on.notify_one();
    script.0.began.notified().await;
    assert!(!matches!(
        world.state(&job_id).steps[0].phase,
        windlass_run::job::StepPhase::Succeeded
    ));
    script.0.go_on.notify_one();
    world.set_away(false);
    world.ended(&job_id).await;
    assert_eq!(
        story(&world, &job_id),
        ["leased 1", "a 1", "a well", "b 1", "b well", "Succeeded done"]
    );
    assert_eq!(
        (world.log(&job_id, "a", 1), world.log(&job_id, "b", 1)),
        ("one\n".to_owned(), "two\n".to_owned())
    );
    runner.drain().await;
}

#[tokio::test]
async fn a_steps_output_is_at_the_server_before_its_end_is() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let job_id = world.add(vec![run_step("a", "x")]);
    let script = Script::new([Act::PrintAndWait("the whole output\n")]);
    let runner = start(&world, &dir, script.clone()).await;
    script.0.began.notified().await;
    script.0.go_on.notify_one();
    world.ended(&job_id).await;
    assert_eq!(world.log(&job_id, "a", 1), "the whole output\n");
    runner.drain().await;
}

#[tokio::test]
async fn a_cancelled_job_ends_cancelled_even_if_its_step_does_not_listen() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let job_id = world.add(vec![run_step("a", "x")]);
    let script = Script::new([Act::Hang]);
    let runner = start(&world, &dir, script.clone()).await;
    script.0.began.notified().await;
    let cancel = Cancel { by: By::system("test"), reason: "enough".to_owned(), at: now() };
    world.command(&job_id, &Command::Cancel(cancel)).expect("legal");
    let end = world.ended(&job_id).await;
    assert_eq!(
        (end.outcome, end.reason.as_str()),
        (Outcome::Cancelled, "Somebody asked it to stop: enough")
    );
    runner.drain().await;
    assert_eq!(*script.0.closed.lock().expect("ok"), 1);
}

#[tokio::test]
async fn a_lost_lease_stops_the_job_at_once_and_its_late_reports_change_nothing() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let job_id = world.add(vec![run_step("a", "x")]);
    let script = Script::new([Act::Hang]);
    let runner = start(&world, &dir, script.clone()).await;
    script.0.began.notified().await;
    world.until(&job_id, |state| (state.last_report == 1).then_some(())).await;
    // Somebody else gets the job: as after a partition.
    let epoch = world.state(&job_id).epoch;
    world
        .command(&job_id, &Command::Release { epoch, reason: "a partition".to_owned() })
        .expect("legal");
    world.ended(&job_id).await;
    assert_eq!(
        story(&world, &job_id),
        ["leased 1", "a 1", "requeued: a partition", "leased 2", "a 2", "a well", "Succeeded done"]
    );
    runner.drain().await;
    assert_eq!(*script.0.closed.lock().expect("ok"), 2);
}

#[tokio::test]
async fn a_runner_that_is_stopped_gives_its_jobs_back_and_the_next_one_ends_them() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let job_id = world.add(vec![run_step("a", "x"), run_step("b", "x")]);
    let script = Script::new([Act::End(StepResult::succeeded(None)), Act::PrintAndWait("begun\n")]);
    let runner = start(&world, &dir, script.clone()).await;
    script.0.began.notified().await;
    script.0.began.notified().await;
    runner.stop(Duration::from_secs(30)).await;
    let runner = start(&world, &dir, Script::default()).await;
    world.ended(&job_id).await;
    assert_eq!(
        story(&world, &job_id),
        [
            "leased 1",
            "a 1",
            "a well",
            "b 1",
            "requeued: the runner is stopping",
            "leased 2",
            "b 2",
            "b well",
            "Succeeded done"
        ]
    );
    runner.drain().await;
}

#[tokio::test]
async fn what_a_killed_runner_had_decided_reaches_the_server_from_its_journal() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let job_id = world.add(vec![run_step("a", "x"), run_step("b", "x")]);
    let script = Script::new([Act::PrintAndWait("one\n"), Act::Hang]);
    let runner = start(&world, &dir, script.clone()).await;
    script.0.began.notified().await;
    world.until(&job_id, |state| (state.last_report == 1).then_some(())).await;
    world.set_away(true);
    script.0.go_on.notify_one();
    script.0.began.notified().await;
    // As a kill does it: nothing is said, nothing is closed.
    runner.abandon().await;
    world.set_away(false);
    let runner = start(&world, &dir, Script::default()).await;
    world.ended(&job_id).await;
    assert_eq!(
        story(&world, &job_id),
        [
            "leased 1",
            "a 1",
            "a well",
            "b 1",
            "requeued: the runner was restarted",
            "leased 2",
            "b 2",
            "b well",
            "Succeeded done"
        ]
    );
    runner.drain().await;
}

#[tokio::test]
async fn a_job_whose_reports_cannot_be_kept_ends_with_the_reason_and_the_way_out() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let job_id = world.add(vec![run_step("a", "x"), run_step("b", "x")]);
    let script = Script::new([Act::PrintAndWait("one\n")]);
    let runner = start(&world, &dir, script.clone()).await;
    script.0.began.notified().await;
    runner.fill_disk();
    script.0.go_on.notify_one();
    let end = world.ended(&job_id).await;
    let expected = format!(
        "The runner can't keep its work safe: the runner's journal {} can't be written: No space left on device \
         (os error 28). Free some space on its state folder and start the task again.",
        dir.path().join("journal").display()
    );
    assert_eq!((end.code, end.reason), ("runner_disk".to_owned(), expected));
    runner.drain().await;
}

#[tokio::test]
async fn a_job_whose_reports_are_never_taken_does_not_hold_up_the_others() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let script = Script::new([Act::PrintAndWait(""), Act::PrintAndWait("")]);
    let (poison, sound) =
        (world.add(vec![run_step("a", "x")]), world.add(vec![run_step("a", "x")]));
    let runner = start(&world, &dir, script.clone()).await;
    script.0.began.notified().await;
    world.refuse(&poison);
    script.0.go_on.notify_one();
    script.0.go_on.notify_one();
    script.0.began.notified().await;
    script.0.go_on.notify_one();
    assert_eq!(world.ended(&sound).await.code, "done");
    runner.drain().await;
    assert!(matches!(world.state(&poison).phase, windlass_run::job::Phase::Leased { .. }));
}

#[tokio::test]
async fn a_job_that_this_machine_fails_again_and_again_ends_with_the_reason() {
    struct Broken;
    impl Executor for Broken {
        fn open(&self, _job: Arc<Job>) -> BoxFuture<'_, Result<Box<dyn Work>, Unopened>> {
            Box::pin(async { Err(Unopened::GiveBack("no room for another tree".to_owned())) })
        }
    }
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let job_id = world.add(vec![run_step("a", "x")]);
    let runner = start(&world, &dir, Broken).await;
    let end = world.ended(&job_id).await;
    assert_eq!(
        (end.code.as_str(), end.reason.as_str()),
        (
            "runner",
            "This runner failed the job 4 times, at last: no room for another tree. Look at the runner's log."
        )
    );
    runner.drain().await;
}

#[tokio::test]
async fn a_second_runner_on_the_same_folder_is_refused_with_the_way_out() {
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let runner = start(&world, &dir, Null).await;
    let refused = Runner::start_with(options(world.url(), dir.path()), Arc::new(Null))
        .await
        .err()
        .expect("refused");
    let expected = format!(
        "the folder {} is used by another runner that is still there; stop it first, or give this one a folder of its own",
        dir.path().display()
    );
    assert_eq!(refused.to_string(), expected);
    runner.drain().await;
}

#[tokio::test]
async fn a_driver_that_panics_ends_its_job_with_a_reason_and_no_other() {
    struct Panics;
    impl Executor for Panics {
        fn open(&self, job: Arc<Job>) -> BoxFuture<'_, Result<Box<dyn Work>, Unopened>> {
            Box::pin(async move {
                assert!(job.title.is_empty(), "a mistake in this program");
                Err(Unopened::GiveBack("never".to_owned()))
            })
        }
    }
    let world = World::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let job_id = world.add(vec![run_step("a", "x")]);
    let runner = start(&world, &dir, Panics).await;
    let end = world.ended(&job_id).await;
    assert_eq!(
        (end.code.as_str(), end.reason.as_str()),
        (
            "runner",
            "The runner's work on this job broke off by a mistake of its own. Its log says where; please report it."
        )
    );
    runner.drain().await;
    assert_eq!(story(&world, &job_id), ["leased 1", "Failed runner"]);
}
