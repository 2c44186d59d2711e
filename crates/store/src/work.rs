//! What runners and reconcilers do to jobs: register, lease, report, act on effects, give back; and
//! the watchdog.

mod effects;
mod join;
mod lease;
mod report;
mod runners;
mod watch;

pub(crate) use report::speaks_for;
use windlass_run::{
    Duration, EffectKey, JobId, Labels, OrganisationId, ProjectId, RunId, RunnerId, Time, TokenId,
    actor::By,
    effect::{self, Effect},
    job::{self, Report},
};

use crate::{
    Error, Store,
    identity::SecretHash,
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
    /// How many environments that live by themselves it lets run at once.
    pub environments: u32,
    /// What it is and has.
    pub labels: Labels,
}

/// What people want of a runner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// That it takes jobs.
    #[default]
    Work,
    /// That it ends what it has and takes nothing more.
    Drain,
    /// That it ends its jobs and then starts anew, by which the wish is fulfilled.
    Restart,
}

impl Wish {
    /// The word that the database and the API use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Drain => "drain",
            Self::Restart => "restart",
        }
    }
}

impl std::str::FromStr for Wish {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "work" => Ok(Self::Work),
            "drain" => Ok(Self::Drain),
            "restart" => Ok(Self::Restart),
            other => Err(format!("`{other}` is nothing that a runner can be told")),
        }
    }
}

/// A runner says that it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// What it says of itself. Its id is the one that it remembers, or a fresh one.
    pub runner: NewRunner,
    /// The token that it came with, where it came with one.
    pub token_id: Option<TokenId>,
    /// A runner that was heard of since then is at work.
    pub alive_since: Time,
}

impl Registration {
    /// Of a runner that came without a token of its own: one that is part of a program.
    pub fn without_token(runner: NewRunner) -> Self {
        Self { runner, token_id: None, alive_since: Time::from_micros(i64::MAX) }
    }
}

/// A runner joins by a code that somebody made for it.
#[derive(Clone, Debug)]
pub struct Join {
    /// The code.
    pub code: SecretHash,
    /// The runner, under a fresh id.
    pub runner: NewRunner,
    /// The id of the token that will be its own.
    pub token_id: TokenId,
    /// The token itself, which the runner made.
    pub token: SecretHash,
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
    /// What is wanted of it.
    pub wish: Wish,
    /// The jobs that it holds.
    pub jobs: Vec<JobId>,
    /// How many environments it keeps that live by themselves, stopped ones too.
    pub kept: u64,
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

/// The answer to [`LeaseAsk`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leases {
    /// What is wanted of the runner. There are no jobs for one that is to do anything but work.
    pub wish: Wish,
    /// The jobs.
    pub leases: Vec<Leased>,
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
    /// What was decided on its steps that ask.
    pub decisions: Vec<(windlass_run::StepId, job::Decision)>,
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
    /// Registers a runner, or says that it is back. Gives the id that it has from now on: a token is
    /// good for one runner, the one that first came with it. A wish to restart is fulfilled by it.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the id belongs to another organisation, or the token to another runner
    /// that is at work; [`Error::NotFound`] for one that was removed.
    pub async fn register_runner(
        &self,
        by: By,
        registration: Registration,
        now: Time,
    ) -> Result<RunnerId, Error> {
        let who = who(&by);
        let registered =
            self.command(move |tx| runners::register(tx, &who, &registration, now)).await;
        self.inner.tokens.forget();
        registered
    }

    /// Makes a code by which one runner can join.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn invite_runner(
        &self,
        by: By,
        organisation_id: OrganisationId,
        code: SecretHash,
        expires_at: Time,
        now: Time,
    ) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| join::invite(tx, &who, &organisation_id, code, expires_at, now))
            .await
    }

    /// Uses a code up: there is a runner from now on, and its token is good. Safe to repeat with the
    /// same token. Gives the runner's id; absent if the code is unknown, used or expired.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn join_runner(&self, join: Join, now: Time) -> Result<Option<RunnerId>, Error> {
        self.command(move |tx| join::join(tx, &join, now)).await
    }

    /// Says what is wanted of a runner. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn wish_of_runner(
        &self,
        by: By,
        organisation_id: OrganisationId,
        runner_id: RunnerId,
        wish: Wish,
        now: Time,
    ) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| runners::wish(tx, &who, &organisation_id, &runner_id, wish, now))
            .await
    }

    /// Removes a runner: its token is taken back, what it holds goes to others when the leases have
    /// run out. Unless `force`d, only one that holds nothing is removed.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if it holds jobs or keeps environments.
    pub async fn remove_runner(
        &self,
        by: By,
        organisation_id: OrganisationId,
        runner_id: RunnerId,
        force: bool,
        now: Time,
    ) -> Result<(), Error> {
        let who = who(&by);
        let removed = self
            .command(move |tx| runners::remove(tx, &who, &organisation_id, &runner_id, force, now))
            .await;
        self.inner.tokens.forget();
        removed
    }

    /// Runners that were heard of at or after `since`, but for those that were removed.
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

    /// Leases jobs that are due and need no label that the runner has not, oldest first. Empty if there
    /// is none: wait for [`Store::subscribe`] to show another `queue`, or for [`Store::next_due`].
    ///
    /// # Errors
    /// [`Error::NotFound`] for a runner that never registered.
    pub async fn lease(&self, ask: LeaseAsk, now: Time) -> Result<Leases, Error> {
        self.command(move |tx| lease::lease(tx, &ask, now)).await
    }

    /// When the next queued job becomes due that the runner can take; absent if none waits.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a runner that never registered.
    pub async fn next_due(
        &self,
        organisation_id: &OrganisationId,
        runner_id: &RunnerId,
    ) -> Result<Option<Time>, Error> {
        let (organisation_id, runner_id) = (organisation_id.clone(), runner_id.clone());
        self.command(move |tx| lease::next_due(tx, &organisation_id, &runner_id)).await
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
