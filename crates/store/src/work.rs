//! What runners and reconcilers do to jobs: register, lease, report, act on effects, give back; and
//! the watchdog.

mod effects;
mod lease;
mod report;
mod runners;
mod watch;

pub(crate) use report::speaks_for;
use windlass_run::{
    Duration, EffectKey, JobId, OrganisationId, ProjectId, RunId, RunnerId, Time,
    actor::By,
    effect::{self, Effect},
    job::{self, Report},
};

use crate::{
    Error, Store,
    writer::tx::{Tx, who},
};

/// A runner process says that it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRunner {
    /// Its id: a fresh one, or the one it had before a restart.
    pub id: RunnerId,
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// Its name.
    pub name: String,
    /// The version of its binary.
    pub version: String,
    /// How many jobs it works on at once.
    pub capacity: u32,
}

/// A runner as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerRow {
    /// What it said of itself.
    pub runner: NewRunner,
    /// When it first came.
    pub registered_at: Time,
    /// When it was last heard of. Kept in memory between registrations.
    pub seen_at: Time,
    /// The jobs that it holds.
    pub jobs: Vec<JobId>,
}

/// Asks for jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseAsk {
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// The runner.
    pub runner_id: RunnerId,
    /// How many jobs at most.
    pub max: u32,
    /// How long until the lease must be renewed.
    pub ttl: Duration,
}

/// A job that was just leased.
#[derive(Clone, Debug, PartialEq)]
pub struct Leased {
    /// The job.
    pub job_id: JobId,
    /// Its run.
    pub run_id: RunId,
    /// Its project.
    pub project_id: ProjectId,
    /// The job in one line.
    pub title: String,
    /// The lease's epoch.
    pub epoch: u64,
    /// The machine's state right after the lease.
    pub state: job::State,
}

/// One job's reports within a runner's call. Without reports it is a heartbeat; with them too.
#[derive(Clone, Debug, PartialEq)]
pub struct JobReports {
    /// The job.
    pub job_id: JobId,
    /// The lease's epoch.
    pub epoch: u64,
    /// The reports in order; those that were accepted before are skipped.
    pub reports: Vec<NumberedReport>,
    /// Set if the runner gives the job back unharmed after these reports, with the reason. Answered
    /// with [`Hold::Lost`], as the lease is over then.
    pub release: Option<String>,
}

/// A report at its place.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberedReport {
    /// From 1 within the lease's epoch, without gaps.
    pub seq: u64,
    /// When it happened, by the runner's clock. A time in the future is taken as now.
    pub at: Time,
    /// What happened.
    pub report: Report,
}

/// What became of one job's reports.
#[derive(Clone, Debug, PartialEq)]
pub struct JobAnswer {
    /// The job.
    pub job_id: JobId,
    /// Whether the lease holds.
    pub hold: Hold,
    /// The newest report that is committed under this epoch.
    pub accepted: u64,
    /// Set once somebody asked the job to stop.
    pub cancel: Option<job::Cancel>,
    /// The job's effects as they stand now.
    pub effects: Vec<Effect>,
    /// Why a report was refused, where one was; those after it were not looked at.
    pub refused: Option<String>,
}

/// Whether a lease holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It does.
    Held,
    /// It is lost: the runner stops everything of this job and reports nothing more.
    Lost,
    /// The job has ended under this lease.
    Ended,
}

/// Who acts on an effect and under which epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executor {
    /// The runner that holds the job's lease.
    Runner {
        /// The runner.
        runner_id: RunnerId,
        /// The lease's epoch.
        epoch: u64,
    },
    /// A reconciler of this server, by name. Its epoch is [`Store::generation`].
    Server {
        /// The reconciler's name.
        name: String,
    },
}

/// The answer to a request for a grant, or to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantAnswer {
    /// The effect as it stands now; after a grant it is granted to the asker.
    Effect(effect::State),
    /// No: look at the far side first, or wait.
    Refused(String),
    /// The lease is lost.
    Lost,
}

/// What the watchdog changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Jobs that wait again since their lease was lost.
    pub requeued: Vec<JobId>,
    /// Jobs that ended by a limit, a lost lease or an unanswered request to stop.
    pub ended: Vec<JobId>,
    /// When it is worth looking again, where anything is running.
    pub next: Option<Time>,
}

impl Store {
    /// Registers a runner, or says that it is back.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the id belongs to another organisation.
    pub async fn register_runner(&self, by: By, runner: NewRunner, now: Time) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| runners::register(tx, &who, &runner, now)).await
    }

    /// Runners that were heard of at or after `since`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn runners(
        &self,
        organisation_id: &OrganisationId,
        since: Time,
    ) -> Result<Vec<RunnerRow>, Error> {
        let organisation_id = organisation_id.clone();
        self.command(move |tx| runners::list(tx, &organisation_id, since)).await
    }

    /// Leases jobs that are due, oldest first. Empty if there is none: wait for [`Store::subscribe`]
    /// to show another `queue`, or for [`Store::next_due`].
    ///
    /// # Errors
    /// [`Error::NotFound`] for a runner that never registered.
    pub async fn lease(&self, ask: LeaseAsk, now: Time) -> Result<Vec<Leased>, Error> {
        self.command(move |tx| lease::lease(tx, &ask, now)).await
    }

    /// When the next queued job becomes due; absent if none waits.
    pub async fn next_due(&self, organisation_id: &OrganisationId) -> Result<Option<Time>, Error> {
        let organisation_id = organisation_id.clone();
        self.command(move |tx| lease::next_due(tx, &organisation_id)).await
    }

    /// Reports and heartbeats of many jobs, each one a command of its own. The answers are in the
    /// same order. A call of only heartbeats writes nothing.
    ///
    /// # Errors
    /// Only where the database fails; a job that is not there or not held is answered as lost.
    pub async fn report(
        &self,
        runner_id: RunnerId,
        jobs: Vec<JobReports>,
        ttl: Duration,
        now: Time,
    ) -> Result<Vec<JobAnswer>, Error> {
        let reports = jobs.into_iter().map(|reports| {
            let runner_id = runner_id.clone();
            move |tx: &mut Tx<'_>| report::report(tx, &runner_id, &reports, ttl, now)
        });
        self.commands(reports).await
    }

    /// A runner gives a job back unharmed.
    ///
    /// # Errors
    /// [`Error::Refused`] if it does not hold the job.
    pub async fn release(
        &self,
        runner_id: RunnerId,
        job_id: JobId,
        epoch: u64,
        reason: String,
        now: Time,
    ) -> Result<(), Error> {
        self.command(move |tx| report::release(tx, &runner_id, &job_id, epoch, &reason, now)).await
    }

    /// Asks to act on an effect. `looked` says that the executor looked at the far side since the
    /// last grant expired, and the effect is not there.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn grant(
        &self,
        executor: Executor,
        job_id: JobId,
        key: EffectKey,
        ttl: Duration,
        looked: bool,
        now: Time,
    ) -> Result<GrantAnswer, Error> {
        let grant = effects::Grant { key, ttl, looked };
        self.command(move |tx| effects::grant(tx, &executor, &job_id, &grant, now)).await
    }

    /// Records what came of an effect, or what was found when looking: `Done`, `Failed` or
    /// `Unknown`. Legal after the job's end too.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn record(
        &self,
        executor: Executor,
        job_id: JobId,
        key: EffectKey,
        state: effect::State,
        now: Time,
    ) -> Result<GrantAnswer, Error> {
        self.command(move |tx| effects::record(tx, &executor, &job_id, &key, &state, now)).await
    }

    /// The watchdog looks at everything whose time has come: expired leases, passed limits, requests
    /// to stop that nobody answered. Costs nothing when there is nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn watch(&self, now: Time) -> Result<Watched, Error> {
        self.command(move |tx| watch::watch(tx, now)).await
    }

    /// The server's own generation: grows by one each time the database is opened for writing.
    pub fn generation(&self) -> u64 {
        self.inner.generation
    }
}
