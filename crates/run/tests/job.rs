//! The job machine, driven through `decide` and `apply` only: the stories in single tests, the
//! absences as properties over random commands.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use windlass_run::{
    Duration, EffectKey, JobId, ProjectId, RunnerId, StepId, Time,
    actor::{Actor, By},
    effect::{self, Executor, Outcome as Outcomes, Request},
    job::{
        self, Cancel, Command, End, Event, GiveUp, Next, Outcome, Phase, Refusal, Report, State,
        StepPhase, StepResult, decide, next,
    },
    spec::{Action, Limits, PullRequestAction, Retry, Spec, Step, Target},
};

const TTL: Duration = Duration::from_secs(10);

fn at(seconds: i64) -> Time {
    Time::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
}

fn step(id: &str) -> Step {
    Step {
        timeout: Duration::from_secs(100),
        ..Step::new(StepId::parse(id).expect("a step id"), Action::run("true"))
    }
}

fn spec(steps: Vec<Step>) -> Spec {
    let target = Target { project_id: ProjectId::new(at(0), 1), base: "main".into(), commit: None };
    Spec {
        limits: Limits { duration: Duration::from_secs(10_000), tokens: Some(1_000), requeues: 3 },
        ..Spec::new(target, steps)
    }
}

/// A job with its journal, driven like the store does it.
struct Job {
    state: State,
    journal: Vec<(Time, Event)>,
    now: Time,
}

impl Job {
    fn new(spec: Spec) -> Self {
        let by = By::own(Actor::System("test".into()));
        let created = job::create(Arc::new(spec), by).expect("a good spec");
        let state = State::begin(&created, at(0)).expect("created begins");
        Self { state, journal: vec![(at(0), created)], now: at(0) }
    }

    fn give(&mut self, command: Command) -> Result<Vec<Event>, Refusal> {
        let events = decide(&self.state, &command, self.now)?;
        for event in &events {
            self.state.apply(event, self.now);
            self.journal.push((self.now, event.clone()));
        }
        Ok(events)
    }

    fn lease(&mut self) -> u64 {
        let runner_id = RunnerId::new(at(0), 9);
        self.give(Command::Lease { runner_id, ttl: TTL }).expect("it waits");
        self.state.epoch
    }

    fn report(&mut self, report: Report) -> Result<Vec<Event>, Refusal> {
        let (epoch, seq) = (self.state.epoch, self.state.last_report + 1);
        self.give(Command::Report { epoch, seq, report })
    }

    fn start(&mut self, id: &str) {
        self.report(Report::StepStarted { step_id: step(id).id }).expect("it may start");
    }

    fn finish(&mut self, id: &str, result: StepResult) {
        self.report(Report::StepEnded { step_id: step(id).id, result }).expect("it may end");
    }

    fn end(&self) -> &End {
        match &self.state.phase {
            Phase::Ended(end) => end,
            other => panic!("not ended but {other:?}"),
        }
    }
}

fn well() -> StepResult {
    StepResult::Succeeded { checkpoint: Some("c0ffee".into()), outputs: BTreeMap::new() }
}

fn starts(index: usize) -> Next {
    Next::Go { start: vec![index], running: vec![], until: None }
}

fn goes_on(index: usize) -> Next {
    Next::Go { start: vec![], running: vec![index], until: None }
}

fn badly() -> StepResult {
    StepResult::Failed { code: "exit_code".into(), reason: "exit code 1".into() }
}

fn cancel(now: Time) -> Command {
    Command::Cancel(Cancel {
        by: By::own(Actor::System("test".into())),
        reason: "not needed".into(),
        at: now,
    })
}

#[test]
fn steps_run_in_order_and_the_last_one_ends_the_job_well() {
    let mut job = Job::new(spec(vec![step("a"), step("b")]));
    job.lease();
    assert_eq!(next(&job.state, job.now), starts(0));
    let refusal = job.report(Report::StepStarted { step_id: step("b").id });
    assert_eq!(refusal, Err(Refusal::Illegal { why: "step `a` comes before `b`".into() }));
    job.start("a");
    assert_eq!(next(&job.state, job.now), goes_on(0));
    job.finish("a", well());
    job.start("b");
    job.finish("b", well());
    let end = End {
        outcome: Outcome::Succeeded,
        code: "done".into(),
        reason: "All steps ended well.".into(),
        give_up: None,
    };
    assert_eq!(job.end(), &end);
    assert_eq!(next(&job.state, job.now), Next::Ended);
}

#[test]
fn a_failed_attempt_rests_longer_each_time_and_the_last_one_ends_the_job() {
    let mut only = step("a");
    only.retry = Retry {
        attempts: 4,
        backoff: Duration::from_secs(2),
        backoff_cap: Duration::from_secs(5),
        on: Vec::new(),
    };
    let mut job = Job::new(spec(vec![only]));
    job.lease();
    let mut rests = vec![];
    for _ in 0..3 {
        job.start("a");
        job.finish("a", badly());
        let Next::Wait { until } = next(&job.state, job.now) else { panic!("it should rest") };
        rests.push(until.since(job.now).as_micros() / 1_000_000);
        job.now = until;
        assert_eq!(next(&job.state, job.now), starts(0));
    }
    assert_eq!(rests, [2, 4, 5]);
    job.start("a");
    job.finish("a", badly());
    assert_eq!(job.end().code, "exit_code");
    assert_eq!(job.end().reason, "Step `a` failed 4 times, at last: exit code 1");
}

#[test]
fn a_step_that_may_fail_is_passed_over_and_named_in_the_end() {
    let mut lint = step("lint");
    lint.continue_on_error = true;
    let mut job = Job::new(spec(vec![step("a"), lint]));
    job.lease();
    job.start("a");
    job.finish("a", well());
    job.start("lint");
    job.finish("lint", badly());
    assert_eq!(job.end().outcome, Outcome::Succeeded);
    assert_eq!(job.end().reason, "All steps ended well. Failed and passed over as asked: lint.");
}

#[test]
fn an_agent_that_gives_up_is_not_asked_again() {
    let mut agent = step("agent");
    agent.retry.attempts = 5;
    let mut job = Job::new(spec(vec![agent, step("b")]));
    job.lease();
    job.start("agent");
    let report = GiveUp {
        tried: vec!["grep".into()],
        stopped_because: "The API is gone.".into(),
        would_unblock: "Access to the new one.".into(),
    };
    job.finish("agent", StepResult::GaveUp(report.clone()));
    let end = End {
        outcome: Outcome::GaveUp,
        code: "agent_gave_up".into(),
        reason: "The agent gave up: The API is gone. What would help: Access to the new one."
            .into(),
        give_up: Some(report),
    };
    assert_eq!(job.end(), &end);
}

#[test]
fn nothing_to_do_ends_well_without_a_change() {
    let mut job = Job::new(spec(vec![step("a"), step("b")]));
    job.lease();
    job.start("a");
    job.finish("a", StepResult::NothingToDo { reason: "It is fixed already.".into() });
    assert_eq!((job.end().outcome, job.end().code.as_str()), (Outcome::Succeeded, "no_change"));
    assert_eq!(job.end().reason, "It is fixed already.");
}

#[test]
fn a_lost_lease_brings_the_running_step_back_without_counting_it_as_a_failure() {
    let mut job = Job::new(spec(vec![step("a"), step("b")]));
    let first = job.lease();
    job.start("a");
    job.finish("a", well());
    job.start("b");
    job.now = at(10);
    job.give(Command::Watch).expect("watching is legal");
    assert_eq!(job.state.phase, Phase::Queued { not_before: at(10) });
    assert_eq!(job.state.steps[0].phase, StepPhase::Succeeded);
    assert_eq!(job.state.steps[1].phase, StepPhase::Pending);
    assert_eq!((job.state.steps[1].attempts, job.state.steps[1].failures), (1, 0));
    assert_eq!(job.give(Command::Watch), Ok(vec![]));
    let late = Report::StepEnded { step_id: step("b").id, result: well() };
    assert_eq!(
        job.give(Command::Report { epoch: first, seq: 4, report: late.clone() }),
        Err(Refusal::StaleEpoch { given: 1, current: 0 })
    );
    job.lease();
    assert_eq!(
        job.give(Command::Report { epoch: first, seq: 4, report: late }),
        Err(Refusal::StaleEpoch { given: 1, current: 2 })
    );
    assert_eq!(next(&job.state, job.now), starts(1));
}

#[test]
fn a_job_whose_runners_keep_vanishing_fails_with_that_reason() {
    let mut job = Job::new(spec(vec![step("a")]));
    for _ in 0..4 {
        while let Phase::Queued { not_before } = job.state.phase {
            job.now = not_before;
            job.lease();
        }
        job.now = job.now + TTL;
        job.give(Command::Watch).expect("watching is legal");
    }
    assert_eq!(job.end().code, "lease_lost");
    assert_eq!(
        job.end().reason,
        "The runner that had this job was not heard of any more, after it had been queued again 3 \
         times. Look at the logs of the runners."
    );
}

#[test]
fn a_heartbeat_keeps_the_lease_and_a_late_one_does_not_shorten_it() {
    let mut job = Job::new(spec(vec![step("a")]));
    let epoch = job.lease();
    job.now = at(9);
    job.give(Command::Heartbeat { epoch, ttl: TTL }).expect("held");
    let short = Command::Heartbeat { epoch, ttl: Duration::from_secs(1) };
    assert_eq!(job.give(short), Ok(vec![]));
    job.now = at(18);
    assert_eq!(job.give(Command::Watch), Ok(vec![]));
}

#[test]
fn a_queued_job_is_cancelled_at_once_and_a_leased_one_by_its_runner_or_the_watchdog() {
    let mut queued = Job::new(spec(vec![step("a")]));
    queued.give(cancel(at(0))).expect("it may be cancelled");
    assert_eq!(queued.end().reason, "Somebody asked it to stop: not needed");
    assert_eq!(queued.give(cancel(at(0))), Err(Refusal::Ended));

    let mut leased = Job::new(spec(vec![step("a")]));
    let epoch = leased.lease();
    leased.start("a");
    leased.give(cancel(at(0))).expect("it may be cancelled");
    assert_eq!(leased.give(cancel(at(1))), Ok(vec![]));
    let Next::Stop(end) = next(&leased.state, leased.now) else { panic!("it should stop") };

    let mut by_watchdog = Job { state: leased.state.clone(), journal: vec![], now: at(0) };
    leased.report(Report::Ended(end)).expect("it was asked to stop");
    assert_eq!(leased.end().outcome, Outcome::Cancelled);
    let StepPhase::Failed { reason } = &leased.state.steps[0].phase else { panic!("still open") };
    assert_eq!(reason, "The job ended (cancelled) before this step did.");

    by_watchdog.now = at(29);
    by_watchdog.give(Command::Heartbeat { epoch, ttl: TTL }).expect("held");
    assert_eq!(by_watchdog.give(Command::Watch), Ok(vec![]));
    by_watchdog.now = at(30);
    by_watchdog.give(Command::Watch).expect("watching is legal");
    assert_eq!(by_watchdog.end().outcome, Outcome::Cancelled);
}

#[test]
fn limits_of_time_and_tokens_stop_the_job_with_the_limit_as_reason() {
    let mut job = Job::new(spec(vec![step("a")]));
    job.lease();
    job.start("a");
    job.report(Report::Tokens { total: 1_000 }).expect("tokens are reported");
    let Next::Stop(end) = next(&job.state, job.now) else { panic!("it should stop") };
    assert_eq!((end.outcome, end.code.as_str()), (Outcome::Failed, "tokens"));

    let mut job = Job::new(spec(vec![step("a")]));
    let epoch = job.lease();
    job.now = at(10_000);
    let Next::Stop(end) = next(&job.state, job.now) else { panic!("it should stop") };
    assert_eq!(end.code, "duration");
    job.give(Command::Heartbeat { epoch, ttl: TTL }).expect("nobody looked yet");
    assert_eq!(job.give(Command::Watch), Ok(vec![]), "the runner has time to say so itself");
    job.give(Command::Release { epoch, reason: "drains".into() }).expect("held");
    job.give(Command::Watch).expect("watching is legal");
    assert_eq!(job.end().code, "duration");
}

#[test]
fn a_step_that_its_runner_never_ends_costs_the_lease_even_if_the_runner_is_alive() {
    let mut job = Job::new(spec(vec![step("a")]));
    let epoch = job.lease();
    job.start("a");
    job.now = at(130);
    job.give(Command::Heartbeat { epoch, ttl: TTL }).expect("held");
    assert_eq!(job.state.watch_at(), Some(at(130)));
    job.give(Command::Watch).expect("watching is legal");
    assert!(matches!(job.state.phase, Phase::Queued { .. }));
    assert_eq!(job.state.requeues, 1);
}

fn push(job: &Job) -> (EffectKey, Request) {
    let job_id = JobId::new(at(0), 1);
    let step_id = &job.state.steps[0].id;
    let request =
        Request::Push { branch: "windlass/x".into(), commit: "c0ffee".into(), expected: None };
    (EffectKey::new(&job_id, step_id, "push", "digest"), request)
}

fn pushed() -> effect::State {
    effect::State::Done(Outcomes::Pushed { branch: "windlass/x".into(), commit: "c0ffee".into() })
}

#[test]
fn an_effect_is_granted_to_one_at_a_time_and_looked_for_before_a_second_grant() {
    let mut publish = step("publish");
    publish.action = Action::PullRequest(PullRequestAction::default());
    let mut job = Job::new(spec(vec![publish]));
    let first = job.lease();
    job.start("publish");
    let (key, request) = push(&job);
    let stage = Report::EffectStaged { step_id: step("publish").id, key: key.clone(), request };
    job.report(stage.clone()).expect("it runs");
    assert_eq!(job.report(stage), Ok(vec![Event::Reported { seq: 3 }]), "the same effect");
    let grant = |epoch, looked| Command::Grant {
        key: key.clone(),
        epoch,
        executor: Executor::Runner,
        ttl: Duration::from_secs(5),
        looked,
    };
    job.give(grant(first, false)).expect("nobody has it");
    let refused = |answer: Result<Vec<Event>, Refusal>| match answer {
        Err(Refusal::NotGranted { why }) => why,
        other => panic!("not refused but {other:?}"),
    };
    let live = "an earlier grant is still in force and nothing was recorded under it";
    assert_eq!(refused(job.give(grant(first, true))), live);
    job.now = at(10);
    job.give(Command::Watch).expect("watching is legal");
    let second = job.lease();
    let look = "an earlier grant expired: look first whether it happened";
    assert_eq!(refused(job.give(grant(second, false))), look);
    let record = |epoch, state| Command::Record {
        key: key.clone(),
        epoch,
        executor: Executor::Runner,
        state,
    };
    assert_eq!(
        job.give(record(first, pushed())),
        Err(Refusal::StaleEpoch { given: 1, current: 2 }),
        "whoever lost the lease is not believed: the next one looks"
    );
    job.give(grant(second, true)).expect("it was looked for");
    job.give(record(second, pushed())).expect("granted");
    assert_eq!(job.give(record(second, pushed())), Ok(vec![]));
    assert_eq!(refused(job.give(grant(second, true))), "it is done");
    job.start("publish");
    job.finish("publish", well());
    assert_eq!(job.end().code, "done");
}

#[test]
fn a_step_can_not_succeed_while_its_effect_is_open_and_an_end_leaves_none_staged() {
    let mut publish = step("publish");
    publish.action = Action::PullRequest(PullRequestAction::default());
    let mut job = Job::new(spec(vec![publish]));
    job.lease();
    job.start("publish");
    let (key, request) = push(&job);
    job.report(Report::EffectStaged { step_id: step("publish").id, key: key.clone(), request })
        .expect("it runs");
    let result = well();
    let refusal = job.report(Report::StepEnded { step_id: step("publish").id, result });
    assert!(matches!(refusal, Err(Refusal::Illegal { .. })), "{refusal:?}");
    job.finish("publish", badly());
    let reason = "The job ended (exit_code) before anybody began it.".to_owned();
    assert_eq!(job.state.effects[0].state, effect::State::Failed { reason });
}

#[test]
fn what_happened_outside_is_recorded_after_the_end_and_a_forgotten_grant_becomes_unknown() {
    let mut publish = step("publish");
    publish.action = Action::PullRequest(PullRequestAction::default());
    let mut job = Job::new(spec(vec![publish]));
    let epoch = job.lease();
    job.start("publish");
    let (key, request) = push(&job);
    job.report(Report::EffectStaged { step_id: step("publish").id, key: key.clone(), request })
        .expect("it runs");
    let ttl = Duration::from_secs(5);
    let executor = Executor::Runner;
    job.give(Command::Grant { key: key.clone(), epoch, executor, ttl, looked: false })
        .expect("nobody has it");
    job.finish("publish", badly());
    assert_eq!(job.state.watch_at(), Some(at(35)));
    let mut forgotten = Job { state: job.state.clone(), journal: vec![], now: at(35) };
    job.give(Command::Record { key, epoch, executor, state: pushed() }).expect("it happened");
    assert_eq!(job.state.effects[0].state, pushed());
    forgotten.give(Command::Watch).expect("watching is legal");
    assert!(matches!(forgotten.state.effects[0].state, effect::State::Unknown { .. }));
    assert_eq!(forgotten.state.watch_at(), None);
}

#[test]
fn an_end_needs_a_reason_and_success_can_not_be_claimed() {
    let mut job = Job::new(spec(vec![step("a")]));
    job.lease();
    let mut end = End {
        outcome: Outcome::Failed,
        code: "repository".into(),
        reason: " ".into(),
        give_up: None,
    };
    assert!(job.report(Report::Ended(end.clone())).is_err());
    end.reason = "The repository is gone.".into();
    end.outcome = Outcome::Succeeded;
    assert!(job.report(Report::Ended(end.clone())).is_err());
    end.outcome = Outcome::Cancelled;
    assert!(job.report(Report::Ended(end.clone())).is_err());
    end.outcome = Outcome::Failed;
    job.report(Report::Ended(end.clone())).expect("a good end");
    assert_eq!(job.end(), &end);
}

#[test]
fn a_job_and_its_journal_survive_a_round_trip_through_json() {
    let mut job = Job::new(spec(vec![step("a")]));
    job.lease();
    job.start("a");
    job.finish("a", badly());
    let text = serde_json::to_string(&job.journal).expect("to JSON");
    let journal: Vec<(Time, Event)> = serde_json::from_str(&text).expect("from JSON");
    assert_eq!(journal, job.journal);
    let folded = State::fold(journal.iter().map(|(at, event)| (*at, event)));
    assert_eq!(folded, Some(job.state));
}

// ---- properties -------------------------------------------------------------------------------

#[derive(Clone, Debug)]
struct Move {
    seconds: i64,
    what: u8,
    which: u8,
    twist: u8,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = (0i64..40, 0u8..16, 0u8..8, 0u8..8);
    let one = one.prop_map(|(seconds, what, which, twist)| Move {
        // Mostly the clock hardly moves, so that leases live long enough for stories.
        seconds: if seconds < 30 { i64::from(seconds == 0) } else { seconds - 25 },
        what,
        which,
        twist,
    });
    proptest::collection::vec(one, 1..120)
}

fn specs() -> impl Strategy<Value = Spec> {
    let one = (1u32..4, any::<bool>(), any::<bool>());
    proptest::collection::vec(one, 1..5).prop_map(|steps| {
        let steps = steps.into_iter().enumerate().map(|(i, (attempts, may_fail, publishes))| {
            let mut step = step(&format!("s{i}"));
            step.retry.attempts = attempts;
            step.continue_on_error = may_fail;
            if publishes {
                step.action = Action::PullRequest(PullRequestAction::default());
            }
            step
        });
        spec(steps.collect())
    })
}

fn request(job: &Job, which: u8) -> (StepId, EffectKey, Request) {
    let index = usize::from(which) % job.state.steps.len();
    let step_id = job.state.steps[index].id.clone();
    let job_id = JobId::new(at(0), 1);
    let request = if which.is_multiple_of(2) {
        Request::Push { branch: "windlass/x".into(), commit: "c0ffee".into(), expected: None }
    } else {
        Request::PullRequest {
            base: "main".into(),
            head: "windlass/x".into(),
            commit: "c0ffee".into(),
            title: "x".into(),
            body: String::new(),
            draft: false,
        }
    };
    (step_id.clone(), EffectKey::new(&job_id, &step_id, request.kind(), "d"), request)
}

fn outcome(request: &Request, twist: u8) -> effect::State {
    match (twist % 4, request) {
        (0, _) => effect::State::Failed { reason: "refused".into() },
        (1, _) => effect::State::Unknown { reason: "cut off".into() },
        (_, Request::Push { .. }) => pushed(),
        (_, Request::PullRequest { .. }) => {
            effect::State::Done(Outcomes::PullRequest { number: 7, url: "http://x/7".into() })
        }
    }
}

/// Epochs and sequence numbers are mostly right, sometimes stale, sometimes from the future.
fn command(job: &Job, step: &Move) -> Command {
    let state = &job.state;
    let epoch = match step.twist {
        0 => state.epoch.saturating_sub(1),
        1 => state.epoch + 1,
        _ => state.epoch,
    };
    let seq = match step.twist {
        2 => state.last_report,
        3 => state.last_report + 2,
        _ => state.last_report + 1,
    };
    let index = usize::from(step.which) % state.steps.len();
    let current = state
        .steps
        .iter()
        .position(|step| !matches!(step.phase, StepPhase::Succeeded | StepPhase::Failed { .. }));
    let index = if step.twist > 4 { current.unwrap_or(index) } else { index };
    let step_id = state.steps[index].id.clone();
    let report = |report| Command::Report { epoch, seq, report };
    let (effect_step, key, request) = request(job, step.which);
    let executor = request.executor();
    match step.what {
        0 | 1 => {
            let runner_id = RunnerId::new(at(0), u128::from(step.which));
            Command::Lease { runner_id, ttl: TTL }
        }
        2 => Command::Heartbeat { epoch, ttl: TTL },
        3 | 4 => report(Report::StepStarted { step_id }),
        5 | 6 => report(Report::StepEnded { step_id, result: well() }),
        7 => report(Report::StepEnded { step_id, result: badly() }),
        8 => match step.which {
            0 => {
                report(Report::StepEnded { step_id, result: StepResult::GaveUp(GiveUp::default()) })
            }
            1 => report(Report::StepEnded {
                step_id,
                result: StepResult::NothingToDo { reason: String::new() },
            }),
            2 => report(Report::Base { commit: "ba5e".into() }),
            3 => report(Report::Ended(End {
                outcome: Outcome::Failed,
                code: "repository".into(),
                reason: "gone".into(),
                give_up: None,
            })),
            n => report(Report::Tokens { total: u64::from(n) * 10 }),
        },
        9 | 10 => report(Report::EffectStaged { step_id: effect_step, key, request }),
        11 => {
            let ttl = Duration::from_secs(5);
            Command::Grant { key, epoch, executor, ttl, looked: step.twist.is_multiple_of(2) }
        }
        12 => {
            let state = outcome(&request, step.twist);
            Command::Record { key, epoch, executor, state }
        }
        13 if step.which == 0 => cancel(job.now),
        14 if step.which < 2 => Command::Release { epoch, reason: "drains".into() },
        _ => Command::Watch,
    }
}

fn epoch_of(command: &Command) -> Option<u64> {
    match command {
        Command::Heartbeat { epoch, .. }
        | Command::Report { epoch, .. }
        | Command::Release { epoch, .. }
        | Command::Grant { epoch, executor: Executor::Runner, .. }
        | Command::Record { epoch, executor: Executor::Runner, .. } => Some(*epoch),
        _ => None,
    }
}

fn check_step(before: &State, command: &Command, events: &[Event], job: &Job) {
    let after = &job.state;
    assert!(after.epoch >= before.epoch, "epochs only grow");
    if let Some(epoch) = epoch_of(command) {
        assert!(events.is_empty() || epoch == before.epoch, "no event under a stale epoch");
    }
    if let Phase::Ended(end) = &before.phase {
        assert_eq!(&after.phase, &before.phase, "ended is final");
        assert_eq!(after.steps, before.steps, "ended is final");
        let only_effects = |event: &Event| matches!(event, Event::EffectChanged { .. });
        assert!(events.iter().all(only_effects), "after the end only effects are recorded");
        assert!(!end.code.trim().is_empty() && !end.reason.trim().is_empty(), "ends have reasons");
    }
    for effect in &before.effects {
        let now = after.effects.iter().find(|other| other.key == effect.key).expect("kept");
        match (&effect.state, &now.state) {
            (effect::State::Done(_), state) => assert_eq!(state, &effect.state, "done is done"),
            (effect::State::Granted { until, .. }, effect::State::Granted { .. })
                if effect.state != now.state =>
            {
                assert!(*until <= job.now, "no second grant while one is in force");
                let looked = matches!(command, Command::Grant { looked: true, .. });
                assert!(looked, "no second grant without a look");
            }
            _ => {}
        }
    }
    for (step, spec) in after.steps.iter().zip(&after.spec.steps) {
        assert!(step.failures <= spec.retry.attempts, "failures are bounded");
        let lost = u32::try_from(after.epoch).expect("few leases");
        assert!(step.attempts <= spec.retry.attempts + lost, "attempts are bounded");
    }
    let running = after.steps.iter().any(|s| matches!(s.phase, StepPhase::Running { .. }));
    assert!(!running || matches!(after.phase, Phase::Leased { .. }), "only a leased job runs");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_absences_hold_for_any_commands(spec in specs(), moves in moves()) {
        let mut job = Job::new(spec);
        let mut done = Vec::new();
        for one in &moves {
            job.now = job.now + Duration::from_secs(one.seconds);
            let command = command(&job, one);
            let before = job.state.clone();
            let Ok(events) = job.give(command.clone()) else {
                prop_assert_eq!(&before, &job.state);
                continue;
            };
            check_step(&before, &command, &events, &job);
            if matches!(command, Command::Report { .. } | Command::Record { .. } | Command::Watch) {
                let again = decide(&job.state, &command, job.now);
                let quiet = matches!(&again, Ok(events) if events.is_empty());
                prop_assert!(quiet, "a repeated {:?} gives {:?}", command, again);
            }
            for event in &events {
                if let Event::EffectChanged { key, state: effect::State::Done(_) } = event {
                    prop_assert!(!done.contains(key), "an effect is done once");
                    done.push(key.clone());
                }
            }
            // The watchdog has nothing to do before it says so.
            let early = job.state.watch_at().map(|at| Time::from_micros(at.as_micros() - 1));
            if let Some(early) = early.filter(|early| *early >= job.now) {
                prop_assert_eq!(decide(&job.state, &Command::Watch, early), Ok(vec![]));
            }
        }
        let folded = State::fold(job.journal.iter().map(|(at, event)| (*at, event)));
        prop_assert_eq!(folded, Some(job.state));
    }

    #[test]
    fn any_job_ends_when_time_passes(spec in specs(), moves in moves()) {
        let mut job = Job::new(spec);
        for one in &moves {
            job.now = job.now + Duration::from_secs(one.seconds);
            let command = command(&job, one);
            let _refused = job.give(command);
        }
        let mut looks = 0;
        while !matches!(job.state.phase, Phase::Ended(_)) {
            looks += 1;
            prop_assert!(looks < 100, "it never ends: {:?}", job.state);
            if let Phase::Queued { not_before } = job.state.phase {
                job.now = job.now.max(not_before);
                let runner_id = RunnerId::new(at(0), 1);
                let _too_late = job.give(Command::Lease { runner_id, ttl: TTL });
            }
            if let Some(at) = job.state.watch_at() {
                job.now = job.now.max(at);
            }
            prop_assert!(job.give(Command::Watch).is_ok());
        }
    }
}
