//! One leased job as its runner knows it: the pure machine, kept in step with the server's by the
//! same code, and the lease that carries its reports.
//!
//! The only place where the runner's copy of a state changes.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use windlass_run::{
    EffectKey, JobId, RunId, StepId, Time, effect,
    job::{self, End, Next, Outcome, Report, State},
};
use windlass_wire::runner::{self as wire, GrantAnswer, JobStatus};

use crate::{
    client::{self},
    held::{Held, Told},
    journal::Item,
    link::{Backoff, Link},
    options::Clock,
};

/// A leased job.
pub(crate) struct Job {
    pub(crate) job_id: JobId,
    pub(crate) run_id: RunId,
    pub(crate) epoch: u64,
    pub(crate) title: String,
    pub(crate) repository: Option<wire::Repository>,
    /// What the server kept of earlier leases.
    pub(crate) checkpoints: Vec<wire::Checkpoint>,
    /// What its organisation and its project say beside it.
    pub(crate) house: wire::House,
    pub(crate) held: Arc<Held>,
    link: Arc<Link>,
    clock: Clock,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

/// Why a job can't go on as it was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Interruption {
    /// The lease is lost, or the server ended the job: nothing more is wanted.
    Over,
    /// Stop, and report this end.
    Stop(End),
    /// The server refused a report: the two copies differ. The job is given back.
    Refused(String),
}

/// A report that could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreported {
    /// The machine refuses it.
    #[error("the report does not fit the job's state: {0}")]
    Illegal(#[from] job::Refusal),
    /// The runner's disk does not take it.
    #[error("the runner's journal {path} can't be written: {error}")]
    Disk { path: String, error: io::Error },
}

/// What became of an effect that was asked about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Granted {
    /// The effect stands so.
    Effect(effect::State),
    /// Not now.
    Refused(String),
    /// The lease is lost.
    Lost,
}

impl Job {
    /// Takes up a lease.
    pub(crate) fn new(lease: wire::Lease, held: Arc<Held>, link: Arc<Link>, clock: Clock) -> Self {
        Self {
            job_id: lease.job_id,
            run_id: lease.run_id,
            epoch: lease.epoch,
            title: lease.title,
            repository: lease.repository,
            checkpoints: lease.checkpoints,
            house: lease.house,
            held,
            link,
            clock,
            state: Mutex::new(lease.state),
            changed: watch::Sender::new(0),
        }
    }

    /// The time now.
    pub(crate) fn now(&self) -> Time {
        (self.clock)()
    }

    /// Looks at the state.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// What to do next, with the server's word heard.
    pub(crate) fn next(&self) -> Next {
        let mut state = self.lock();
        let told = self.held.told().borrow().clone();
        adopt(&mut state, told);
        job::next(&state, self.now())
    }

    /// Reports something: decided here, journalled, and on its way to the server.
    ///
    /// # Errors
    /// [`Unreported`]; after a full disk the report is on its way all the same.
    pub(crate) fn report(&self, report: Report) -> Result<u64, Unreported> {
        let now = self.now();
        let mut state = self.lock();
        // What the server did meanwhile (an effect of this step is done) decides with.
        adopt(&mut state, self.held.told().borrow().clone());
        let seq = state.last_report + 1;
        let command = job::Command::Report { epoch: self.epoch, seq, report: report.clone() };
        for event in job::decide(&state, &command, now)? {
            state.apply(&event, now);
        }
        // Within the lock, so that two reports can't change places on their way to the queue.
        let after_streams =
            matches!(report, Report::StepEnded { .. } | Report::Ended(_) | Report::Rest);
        let (queued, written) = self.held.report(now, report, after_streams);
        debug_assert_eq!(queued, seq, "the lease and the machine count the same reports");
        drop(state);
        self.changed.send_modify(|n| *n += 1);
        match written {
            Ok(()) => Ok(seq),
            Err(error) => Err(Unreported::Disk {
                path: self.link.journal.path().display().to_string(),
                error,
            }),
        }
    }

    /// Queues the upload of a file.
    ///
    /// # Errors
    /// When the journal can't be written.
    pub(crate) fn upload(&self, item: Item) -> Result<(), Unreported> {
        let path = || self.link.journal.path().display().to_string();
        self.held.upload(item).map_err(|error| Unreported::Disk { path: path(), error })
    }

    /// Returns when the job can't go on as it was; never, if it always can.
    pub(crate) async fn interrupted(&self) -> Interruption {
        let mut told = self.held.told();
        let mut changed = self.changed.subscribe();
        loop {
            let heard = told.borrow_and_update().clone();
            changed.borrow_and_update();
            if heard.status != JobStatus::Held {
                return Interruption::Over;
            }
            if let Some(why) = heard.refused {
                return Interruption::Refused(why);
            }
            if let Next::Stop(end) = self.next() {
                return Interruption::Stop(end);
            }
            let limit = self.look(State::limit_at);
            let rest =
                limit.map_or(Duration::from_secs(3600), |limit| limit.since(self.now()).to_std());
            tokio::select! {
                _ = told.changed() => {}
                _ = changed.changed() => {}
                () = tokio::time::sleep(rest + Duration::from_millis(1)) => {}
            }
        }
    }

    /// Returns once the server has committed the report, or the lease is over. True if it was committed.
    pub(crate) async fn committed(&self, seq: u64) -> bool {
        let mut told = self.held.told();
        let heard =
            told.wait_for(|told| told.accepted >= seq || told.status != JobStatus::Held).await;
        heard.is_ok_and(|told| told.accepted >= seq)
    }

    /// Asks to act on an effect. Repeats the question until the server answers.
    pub(crate) async fn grant(&self, key: &EffectKey, looked: bool) -> Granted {
        let mut backoff = Backoff::default();
        loop {
            let request = wire::GrantRequest {
                runner_id: self.link.runner_id(),
                job_id: self.job_id.clone(),
                epoch: self.epoch,
                key: key.clone(),
                looked,
            };
            match self.link.client.grant(&request).await {
                Ok(answer) => return answered(answer),
                Err(error) => self.again(error, &mut backoff).await,
            }
        }
    }

    /// Records what came of an effect. Repeats it until the server answers.
    pub(crate) async fn record(&self, key: &EffectKey, state: effect::State) -> Granted {
        let mut backoff = Backoff::default();
        loop {
            let request = wire::RecordRequest {
                runner_id: self.link.runner_id(),
                job_id: self.job_id.clone(),
                epoch: self.epoch,
                key: key.clone(),
                state: state.clone(),
            };
            match self.link.client.record(&request).await {
                Ok(answer) => {
                    self.held.touch();
                    return answered(answer);
                }
                Err(error) => self.again(error, &mut backoff).await,
            }
        }
    }

    /// What the job's steps may be given, as it is now. Repeats the question until the server answers.
    ///
    /// # Errors
    /// When the server refuses.
    pub(crate) async fn secrets(&self) -> Result<wire::Secrets, client::Error> {
        let mut backoff = Backoff::default();
        loop {
            let runner_id = self.link.runner_id();
            match self.link.client.secrets(&self.job_id, &runner_id, self.epoch).await {
                Err(error @ client::Error::Away(_)) => self.again(error, &mut backoff).await,
                other => return other,
            }
        }
    }

    /// Downloads the bundle that the server keeps of a step. Repeats until the server answers.
    ///
    /// # Errors
    /// When the server does not have it, or the disk does not take it.
    pub(crate) async fn fetch_checkpoint(
        &self,
        step_id: &StepId,
        path: &std::path::Path,
        limit: u64,
    ) -> Result<(), client::Error> {
        let mut backoff = Backoff::default();
        loop {
            let opened = tokio::fs::File::create(path).await;
            let mut file = opened.map_err(|error| {
                client::Error::Refused(format!("{} can't be written: {error}", path.display()))
            })?;
            let call = self.link.client.get_checkpoint(
                &self.job_id,
                step_id,
                self.epoch,
                &mut file,
                limit,
            );
            match call.await {
                Err(error @ client::Error::Away(_)) => self.again(error, &mut backoff).await,
                other => return other,
            }
        }
    }

    /// Counts that something on this machine failed the job. How often it did so far.
    pub(crate) fn strike(&self) -> u32 {
        self.link.strike(&self.job_id)
    }

    /// The effect of that kind that the step wanted already, in this lease or an earlier one.
    pub(crate) fn effect_of(&self, step_id: &StepId, kind: &str) -> Option<effect::Effect> {
        self.next();
        self.look(|state| {
            let mut found = state.effects.iter().rev();
            found
                .find(|effect| effect.step_id == *step_id && effect.request.kind() == kind)
                .cloned()
        })
    }

    /// How the effect stands, once that is neither staged nor granted. `None` when the lease is over.
    pub(crate) async fn settled(&self, key: &EffectKey) -> Option<effect::State> {
        let mut told = self.held.told();
        let mut pause = Duration::from_millis(50);
        loop {
            let heard = told.borrow_and_update().clone();
            let effects = heard.effects.unwrap_or_default();
            if let Some(effect) = effects.into_iter().find(|effect| effect.key == *key)
                && !matches!(effect.state, effect::State::Staged | effect::State::Granted { .. })
            {
                return Some(effect.state);
            }
            if heard.status != JobStatus::Held {
                return None;
            }
            tokio::select! {
                _ = told.changed() => {}
                // The server acts on its own; nothing but a question brings the news.
                () = tokio::time::sleep(pause) => {
                    self.held.touch();
                    pause = (pause * 3 / 2).min(Duration::from_secs(2));
                }
            }
        }
    }

    async fn again(&self, error: client::Error, backoff: &mut Backoff) {
        tracing::debug!(%error, job_id = %self.job_id, "a call about a job failed and is repeated");
        tokio::time::sleep(backoff.next()).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn adopt(state: &mut State, told: Told) {
    if let Some(effects) = told.effects {
        state.adopt(told.cancel, effects, told.decisions);
    }
}

fn answered(answer: GrantAnswer) -> Granted {
    match answer {
        GrantAnswer::Effect { state } => Granted::Effect(state),
        GrantAnswer::Refused { why } => Granted::Refused(why),
        GrantAnswer::Lost => Granted::Lost,
    }
}

/// The end of a job that can't go on.
pub(crate) fn failed(code: &str, reason: impl Into<String>) -> End {
    End { outcome: Outcome::Failed, code: code.to_owned(), reason: reason.into(), give_up: None }
}
