//! Simulated runners: each drives the real job machine on copies of its jobs, keeps its reports until
//! the server has them, and acts on the forge under grants. What it writes down survives its crash,
//! unless its disk is lost too.

use std::collections::BTreeMap;

use serde_json::json;
use windlass_run::{
    Duration, EffectKey, JobId, RunnerId, StepId, Time,
    effect::{self, Request},
    job::{self, Command, Next, Report, State, StepPhase, StepResult},
    spec::Action,
};
use windlass_store::work::{GrantAnswer, Hold, JobAnswer, JobReports, Leased, NumberedReport};

use super::{
    forge::Reply,
    random::Random,
    server::outcome,
    world::{Answer, Call, Event, FLIGHT, Party, RunnerCall, World},
};

/// How often a runner looks, in milliseconds. Heartbeats go out at that pace.
const LOOK: i64 = 3_000;

/// How long a runner waits for an answer before it asks again.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many jobs a runner works on at once.
const CAPACITY: usize = 2;

/// A runner.
pub(super) struct Runner {
    pub is_up: bool,
    id: RunnerId,
    life: u64,
    is_registered: bool,
    jobs: BTreeMap<JobId, Held>,
    leasing_since: Option<Time>,
}

/// A job that a runner holds.
#[derive(Clone)]
struct Held {
    epoch: u64,
    state: State,
    /// Reports that the server has not taken yet.
    pending: Vec<NumberedReport>,
    /// Until when the running steps are busy, by their index.
    busy: BTreeMap<usize, Time>,
    doing: Option<(EffectKey, Doing)>,
    /// Set once it is to be given back.
    release: Option<String>,
}

/// What a runner is doing about an effect of its own.
#[derive(Clone, Debug)]
enum Doing {
    /// It asked for a grant.
    Asked(Time),
    /// The request is under way to the forge until then.
    Acting(Time),
    /// It is recorded as that, again and again until the server has it.
    Recording(effect::State),
}

impl Runner {
    pub(super) fn new(random: &mut Random, now: Time) -> Self {
        Self {
            is_up: true,
            id: RunnerId::new(now, random.bits()),
            life: 0,
            is_registered: false,
            jobs: BTreeMap::new(),
            leasing_since: None,
        }
    }

    pub(super) fn crash(&mut self) {
        self.is_up = false;
        self.life += 1;
        self.is_registered = false;
        self.leasing_since = None;
    }

    /// Comes back, with or without its disk and its environments. Gives its new life.
    pub(super) fn restart(&mut self, random: &mut Random, now: Time) -> u64 {
        self.is_up = true;
        match random.between(0, 3) {
            0 => {
                self.jobs.clear();
                self.id = RunnerId::new(now, random.bits());
            }
            1 => {
                for held in self.jobs.values_mut() {
                    held.release = Some("the runner was restarted".to_owned());
                    held.doing = None;
                }
            }
            // The supervisor kept the environments: everything goes on. What was under way to the
            // forge is not known any more.
            _ => self.jobs.values_mut().for_each(|held| held.doing = None),
        }
        self.life
    }
}

impl Held {
    fn new(leased: Leased) -> Self {
        Self {
            epoch: leased.epoch,
            state: leased.state,
            pending: vec![],
            busy: BTreeMap::new(),
            doing: None,
            release: None,
        }
    }

    /// Reports to its own copy of the machine first, and to the server when it can.
    fn report(&mut self, report: Report, now: Time) -> Result<(), String> {
        let seq = self.state.last_report + 1;
        let command = Command::Report { epoch: self.epoch, seq, report: report.clone() };
        let events = job::decide(&self.state, &command, now)
            .map_err(|why| format!("a runner's own machine refused {report:?}: {why}"))?;
        for event in &events {
            self.state.apply(event, now);
        }
        self.pending.push(NumberedReport { seq, at: now, report });
        Ok(())
    }

    fn effect(&self, key: &EffectKey) -> Option<&effect::Effect> {
        self.state.effects.iter().find(|effect| effect.key == *key)
    }
}

impl World {
    /// A runner looks at everything it has to do.
    pub(super) fn runner_looks(&mut self, runner: usize, life: u64) -> Result<(), String> {
        if !self.runners[runner].is_up || self.runners[runner].life != life {
            return Ok(());
        }
        if !self.runners[runner].is_registered {
            self.call_server(runner, RunnerCall::Register);
        } else {
            self.ask_for_jobs(runner);
        }
        let job_ids: Vec<JobId> = self.runners[runner].jobs.keys().cloned().collect();
        for job_id in job_ids {
            // Taken out while it is worked on, so that the world can be asked for other things.
            let Some(mut held) = self.runners[runner].jobs.remove(&job_id) else { continue };
            self.advance(runner, &job_id, &mut held)?;
            self.runners[runner].jobs.insert(job_id, held);
        }
        self.report_all(runner);
        let mut pause = self.random.between(LOOK / 2, LOOK);
        if self.in_trouble() && self.random.one_in(40) {
            // It hangs for a while: heartbeats come late, or too late.
            pause = self.random.between(5_000, 40_000);
        }
        self.after(pause, Event::Runner { runner, life });
        Ok(())
    }

    fn call_server(&mut self, runner: usize, what: RunnerCall) {
        let Runner { life, id, .. } = &self.runners[runner];
        let (life, id) = (*life, id.clone());
        self.send(Event::Call(Call::Runner { runner, life, id, what }));
    }

    fn ask_for_jobs(&mut self, runner: usize) {
        let now = self.now;
        let this = &mut self.runners[runner];
        let waiting = this.leasing_since.is_some_and(|since| now < since + PATIENCE);
        let free = CAPACITY.saturating_sub(this.jobs.len());
        if waiting || free == 0 {
            return;
        }
        this.leasing_since = Some(now);
        self.call_server(runner, RunnerCall::Lease { max: u32::try_from(free).unwrap_or(1) });
    }

    fn report_all(&mut self, runner: usize) {
        let jobs = self.runners[runner].jobs.iter().map(|(job_id, held)| JobReports {
            job_id: job_id.clone(),
            epoch: held.epoch,
            reports: held.pending.clone(),
            release: held.release.clone(),
        });
        let jobs: Vec<JobReports> = jobs.collect();
        if !jobs.is_empty() {
            self.call_server(runner, RunnerCall::Report(jobs));
        }
    }

    /// Does what the machine says, as far as it can be done now.
    fn advance(&mut self, runner: usize, job_id: &JobId, held: &mut Held) -> Result<(), String> {
        if held.release.is_some() {
            return Ok(());
        }
        loop {
            match job::next(&held.state, self.now) {
                Next::Go { start, running, .. } => {
                    if held.state.base_commit.is_none() {
                        held.report(Report::Base { commit: "ba5e".into() }, self.now)?;
                    }
                    for index in &start {
                        let step_id = held.state.steps[*index].id.clone();
                        held.report(Report::StepStarted { step_id }, self.now)?;
                        let busy = self.random.between(0, 12_000);
                        held.busy.insert(*index, self.now + Duration::from_millis(busy));
                    }
                    let mut done = false;
                    for index in running {
                        done = match &held.state.definition(index).action {
                            Action::PullRequest(_) => self.publish(runner, job_id, held, index)?,
                            _ => self.finish(held, index)?,
                        };
                        if done {
                            break;
                        }
                    }
                    if !done && start.is_empty() {
                        return Ok(());
                    }
                }
                Next::Settle => held.report(Report::Settle, self.now)?,
                Next::Rested { index } => {
                    let step_id = held.state.steps[index].id.clone();
                    held.report(Report::Rested { step_id }, self.now)?;
                }
                Next::Decided { index } => {
                    let step_id = held.state.steps[index].id.clone();
                    held.report(Report::Decided { step_id }, self.now)?;
                }
                // Its own copy is queued then, and what it says last is on its way.
                Next::Rest => held.report(Report::Rest, self.now)?,
                Next::Stop(end) => held.report(Report::Ended(end), self.now)?,
                Next::Wait { .. } | Next::Ended => return Ok(()),
            }
        }
    }

    /// Ends a step of commands once it is no longer busy. True if it ended.
    fn finish(&mut self, held: &mut Held, index: usize) -> Result<bool, String> {
        let StepPhase::Running { since } = held.state.steps[index].phase else { return Ok(false) };
        let timeout = held.state.definition(index).timeout;
        let step_id = held.state.steps[index].id.clone();
        if since + timeout <= self.now {
            let result = fails("timeout", "It took too long.");
            held.report(Report::StepEnded { step_id, result }, self.now)?;
            return Ok(true);
        }
        // After a restart nobody knows how long it still takes: not long.
        let busy_until = held.busy.get(&index).copied().unwrap_or(self.now);
        if self.now < busy_until {
            return Ok(false);
        }
        let total = held.state.tokens + self.random.number() % 120;
        held.report(Report::Tokens { total }, self.now)?;
        let result = match self.random.between(0, 12) {
            0 => fails("exit_code", "exit code 1"),
            1 => StepResult::NothingToDo { reason: "It is fixed already.".into() },
            2 if self.random.one_in(4) => StepResult::GaveUp(job::GiveUp::default()),
            _ => {
                let gives = held.state.definition(index).outputs.keys();
                let outputs = gives.map(|name| (name.clone(), json!([1, 2]))).collect();
                StepResult::Succeeded { checkpoint: Some("c0ffee".into()), outputs }
            }
        };
        let goes_on = matches!(
            job::next(&held.state, self.now),
            Next::Go { running, .. } if running.contains(&index)
        );
        if goes_on {
            held.report(Report::StepEnded { step_id, result }, self.now)?;
        }
        Ok(true)
    }

    /// Pushes under a grant, then lets the server open the pull request. True if the step ended.
    fn publish(
        &mut self,
        runner: usize,
        job_id: &JobId,
        held: &mut Held,
        index: usize,
    ) -> Result<bool, String> {
        let step_id = held.state.steps[index].id.clone();
        for (kind, request) in requests(job_id) {
            let key = EffectKey::new(job_id, &step_id, kind, "digest");
            let Some(effect) = held.effect(&key) else {
                let report = Report::EffectStaged { step_id, key, request };
                held.report(report, self.now)?;
                return Ok(false);
            };
            match effect.state.clone() {
                effect::State::Done(_) => continue,
                effect::State::Failed { reason } | effect::State::Unknown { reason } => {
                    return self.end_step(held, step_id, fails("effect", &reason));
                }
                effect::State::Staged | effect::State::Granted { .. } => {
                    if kind == "push" {
                        self.push(runner, job_id, held, &key, &request);
                    }
                    return Ok(false);
                }
            }
        }
        let result = StepResult::succeeded(None);
        self.end_step(held, step_id, result)
    }

    fn end_step(
        &mut self,
        held: &mut Held,
        step_id: StepId,
        result: StepResult,
    ) -> Result<bool, String> {
        held.report(Report::StepEnded { step_id, result }, self.now)?;
        Ok(true)
    }

    /// One step nearer to a push that is recorded.
    fn push(
        &mut self,
        runner: usize,
        job_id: &JobId,
        held: &mut Held,
        key: &EffectKey,
        request: &Request,
    ) {
        let (now, epoch) = (self.now, held.epoch);
        let state = held.effect(key).map(|effect| effect.state.clone());
        let there = || -> Option<effect::State> {
            self.forge.look(request).map(|reply| outcome(request, &reply))
        };
        match held.doing.as_ref().filter(|(doing, _)| doing == key).map(|(_, doing)| doing) {
            Some(Doing::Asked(since)) if now < *since + PATIENCE => {}
            Some(Doing::Acting(until)) if now < *until => {}
            Some(Doing::Recording(state)) => {
                let (key, state) = (key.clone(), state.clone());
                let job_id = job_id.clone();
                self.call_server(runner, RunnerCall::Record { job_id, epoch, key, state });
            }
            Some(Doing::Asked(_) | Doing::Acting(_)) | None => {
                // Whatever was asked or sent before is over. If there was a grant, it must expire
                // first; then the forge tells whether it happened.
                let expired = match state {
                    Some(effect::State::Granted { until, .. }) if now < until => return,
                    Some(effect::State::Granted { .. }) => true,
                    _ => false,
                };
                let staged_at_server = held.pending.is_empty();
                if !staged_at_server {
                    return;
                }
                if expired && let Some(state) = there() {
                    held.doing = Some((key.clone(), Doing::Recording(state)));
                    return;
                }
                held.doing = Some((key.clone(), Doing::Asked(now)));
                let (job_id, key) = (job_id.clone(), key.clone());
                let grant = RunnerCall::Grant { job_id, epoch, key, looked: expired };
                self.call_server(runner, grant);
            }
        }
    }

    /// An answer of the server reaches a runner.
    pub(super) fn answer(
        &mut self,
        runner: usize,
        life: u64,
        answer: Answer,
    ) -> Result<(), String> {
        let this = &mut self.runners[runner];
        if !this.is_up || this.life != life {
            return Ok(());
        }
        match answer {
            Answer::Registered => this.is_registered = true,
            Answer::Leased(leased) => {
                this.leasing_since = None;
                for leased in leased {
                    // An answer that came twice, or after the job was worked on, changes nothing.
                    let known = this.jobs.get(&leased.job_id);
                    if known.is_none_or(|known| known.epoch < leased.epoch) {
                        this.jobs.insert(leased.job_id.clone(), Held::new(leased));
                    }
                }
            }
            Answer::Reported(answers) => {
                for answer in answers {
                    self.taken(runner, answer)?;
                }
            }
            Answer::Effect { job_id, key, answer } => {
                self.effect_answered(runner, &job_id, &key, answer);
            }
        }
        Ok(())
    }

    fn taken(&mut self, runner: usize, answer: JobAnswer) -> Result<(), String> {
        let jobs = &mut self.runners[runner].jobs;
        let Some(held) = jobs.get_mut(&answer.job_id) else { return Ok(()) };
        match answer.hold {
            // It may be a late answer to an earlier lease of the same job: then the next answer
            // tells. Losing a job too often costs time only.
            Hold::Lost | Hold::Ended => {
                jobs.remove(&answer.job_id);
            }
            Hold::Held => {
                held.pending.retain(|report| report.seq > answer.accepted);
                held.state.adopt(answer.cancel, answer.effects, answer.decisions);
                if let Some(why) = answer.refused.filter(|why| !why.contains("came after")) {
                    return Err(format!("the server refused a report: {why}"));
                }
            }
        }
        Ok(())
    }

    fn effect_answered(
        &mut self,
        runner: usize,
        job_id: &JobId,
        key: &EffectKey,
        answer: GrantAnswer,
    ) {
        let now = self.now;
        let Runner { life, jobs, .. } = &mut self.runners[runner];
        let life = *life;
        let Some(held) = jobs.get_mut(job_id) else { return };
        let GrantAnswer::Effect(state) = answer else {
            return;
        };
        let Some(effect) = held.state.effects.iter_mut().find(|effect| effect.key == *key) else {
            return;
        };
        let asked = matches!(&held.doing, Some((doing, Doing::Asked(_))) if doing == key);
        let request = effect.request.clone();
        effect.state = state.clone();
        match state {
            effect::State::Granted { epoch, until, .. }
                if asked && epoch == held.epoch && now + FLIGHT <= until =>
            {
                held.doing = Some((key.clone(), Doing::Acting(now + FLIGHT)));
                let from = Party::Runner { runner, life };
                let (job_id, key) = (job_id.clone(), key.clone());
                self.fly(Event::Forge { from, job_id, key, request });
            }
            effect::State::Done(_) | effect::State::Failed { .. } => held.doing = None,
            _ => {}
        }
    }

    /// The forge's answer reaches a runner.
    pub(super) fn forge_answers_runner(
        &mut self,
        runner: usize,
        life: u64,
        job_id: &JobId,
        key: &EffectKey,
        reply: Reply,
    ) {
        let this = &mut self.runners[runner];
        if !this.is_up || this.life != life {
            return;
        }
        let Some(held) = this.jobs.get_mut(job_id) else { return };
        let Some(request) = held.effect(key).map(|effect| effect.request.clone()) else { return };
        if matches!(&held.doing, Some((doing, Doing::Acting(_))) if doing == key) {
            held.doing = Some((key.clone(), Doing::Recording(outcome(&request, &reply))));
        }
    }
}

fn fails(code: &str, reason: &str) -> StepResult {
    StepResult::Failed { code: code.into(), reason: reason.into() }
}

/// What a pull request step wants, in order.
fn requests(job_id: &JobId) -> [(&'static str, Request); 2] {
    let branch = format!("windlass/{job_id}");
    let commit = format!("commit-of-{job_id}");
    let push = Request::Push { branch: branch.clone(), commit: commit.clone(), expected: None };
    let pull = Request::PullRequest {
        base: "main".into(),
        head: branch,
        commit,
        title: "It is done".into(),
        body: String::new(),
        draft: false,
    };
    [("push", push), ("pull_request", pull)]
}
