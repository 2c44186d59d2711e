//! Runs and jobs: start, stop, list, look.

pub(crate) mod cancel;
pub(crate) mod create;
mod decide;
mod rows;
pub(crate) mod told;

pub(crate) use create::{answer, check_title, earlier};
pub(crate) use rows::{JOB_COLUMNS, RUN_COLUMNS, job as job_of, run as run_of};

use serde::{Deserialize, Serialize};
use windlass_run::{
    JobId, OrganisationId, ProjectId, RunId, RunnerId, Time,
    actor::By,
    job::{self, Event, Outcome},
    run::Tally,
    spec::Spec,
};

use crate::{Error, Store};

/// A run to start. Its ids are the caller's, so that a repeated command is the same command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewRun {
    /// The run's id.
    pub id: RunId,
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// The run in one line.
    pub title: String,
    /// Its jobs, at least one.
    pub jobs: Vec<NewJob>,
    /// The automation that it is a run of.
    pub automation: Option<crate::automations::Pinned>,
    /// What it must not be at together with another run of that automation.
    pub turn: Option<crate::turns::Turn>,
    /// What makes it the same request when it is sent again, at most 255 bytes. Kept per
    /// organisation and actor; the same key with another content is [`Error::Conflict`].
    pub idempotency_key: Option<String>,
}

/// A job of a run to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewJob {
    /// The job's id.
    pub id: JobId,
    /// The job in one line.
    pub title: String,
    /// What to do. Checked with [`Spec::check`].
    pub spec: Spec,
}

/// A run that was started, now or by the same request before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The run.
    pub run_id: RunId,
    /// Its jobs.
    pub job_ids: Vec<JobId>,
    /// False if an earlier request with this idempotency key started it.
    pub fresh: bool,
}

/// Where a run or job stands, as lists filter by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It waits for a runner.
    Queued,
    /// A runner has it (a run: at least one job has begun and not all have ended).
    Running,
    /// It is over.
    Ended(Outcome),
}

/// A run as lists show it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// Its place in the order of creation, over all organisations: what a page is cut by.
    pub number: u64,
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// The run in one line.
    pub title: String,
    /// Who started it.
    pub by: By,
    /// Where it stands.
    pub standing: Standing,
    /// How its jobs stand.
    pub tally: Tally,
    /// When it was created.
    pub created_at: Time,
    /// When its first job began.
    pub started_at: Option<Time>,
    /// When its last job ended.
    pub ended_at: Option<Time>,
}

/// A job as lists show it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// Its place in the order of creation, over all organisations: what a page is cut by.
    pub number: u64,
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// Its run.
    pub run_id: RunId,
    /// Its project.
    pub project_id: ProjectId,
    /// The job in one line.
    pub title: String,
    /// Where it stands.
    pub standing: Standing,
    /// The newest entry of its journal.
    pub seq: u64,
    /// The runner that holds it.
    pub runner_id: Option<RunnerId>,
    /// How it ended.
    pub end: Option<job::End>,
    /// The pull request that it opened or updated: its number and where a person sees it.
    pub pull_request: Option<(u64, String)>,
    /// Tokens used so far.
    pub tokens: u64,
    /// When it was created.
    pub created_at: Time,
    /// When its first lease began.
    pub started_at: Option<Time>,
    /// When it ended.
    pub ended_at: Option<Time>,
}

/// A job with everything that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobDetail {
    /// What a list shows of it.
    pub row: JobRow,
    /// The machine's state, folded from the journal up to `row.seq`.
    pub state: job::State,
    /// When each step's newest attempt began and when the step ended, in the order of the spec.
    pub step_times: Vec<StepTimes>,
}

/// When a step's newest attempt began and when the step ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTimes {
    /// When the newest attempt began.
    pub started_at: Option<Time>,
    /// When the step ended.
    pub ended_at: Option<Time>,
}

/// An entry of a job's journal.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalEntry {
    /// Its place in the job's journal, from 1 without gaps.
    pub seq: u64,
    /// When it happened.
    pub at: Time,
    /// Who caused it.
    pub by: By,
    /// What happened.
    pub event: Event,
}

/// Which runs or jobs are wanted. Those fields that are set must all hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only those that stand so.
    pub standing: Option<Standing>,
    /// Only those that have not ended (`Some(true)`), or have (`Some(false)`).
    pub live: Option<bool>,
    /// Only those of this project. For jobs only.
    pub project_id: Option<ProjectId>,
    /// Only those whose title has all of these words (the last one as a prefix).
    pub search: Option<String>,
}

/// Which part of a list is wanted, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Only rows with a smaller `number`; absent for the first page.
    pub before: Option<u64>,
    /// How many rows at most, 1 to 200.
    pub limit: u32,
}

/// How many jobs stand how, kept beside the rows so that nobody counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs that wait.
    pub queued: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that ended well.
    pub succeeded: u64,
    /// Jobs whose agent gave up.
    pub gave_up: u64,
    /// Jobs that failed.
    pub failed: u64,
    /// Jobs that were stopped.
    pub cancelled: u64,
    /// Jobs that had nothing to do.
    pub skipped: u64,
}

impl Standing {
    /// The word that the database and lists use.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Ended(Outcome::Succeeded) => "succeeded",
            Self::Ended(Outcome::GaveUp) => "gave_up",
            Self::Ended(Outcome::Failed) => "failed",
            Self::Ended(Outcome::Cancelled) => "cancelled",
            Self::Ended(Outcome::Skipped) => "skipped",
        }
    }
}

impl std::str::FromStr for Standing {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "queued" => Self::Queued,
            "running" => Self::Running,
            "succeeded" => Self::Ended(Outcome::Succeeded),
            "gave_up" => Self::Ended(Outcome::GaveUp),
            "failed" => Self::Ended(Outcome::Failed),
            "cancelled" => Self::Ended(Outcome::Cancelled),
            "skipped" => Self::Ended(Outcome::Skipped),
            other => return Err(format!("`{other}` is not a state of runs and jobs")),
        })
    }
}

impl Store {
    /// Starts a run: all of its jobs are queued.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a spec that does not hold, [`Error::NotFound`] for a project that is
    /// not there, [`Error::Conflict`] for an id or idempotency key that was used for something else.
    pub async fn create_run(&self, by: By, new: NewRun, now: Time) -> Result<Started, Error> {
        let (organisation_id, run_id) = (new.organisation_id.clone(), new.id.clone());
        let job_ids: Vec<JobId> = new.jobs.iter().map(|job| job.id.clone()).collect();
        let prepared = create::prepare(by, new)?;
        match self.command(move |tx| create::create(tx, &prepared, now)).await {
            // Its rows are there already: the same command, come twice.
            Err(Error::Database { context }) => {
                let (_, jobs) = match self.run(&organisation_id, &run_id).await {
                    Ok(found) => found,
                    Err(_) => return Err(Error::Database { context }),
                };
                if jobs.iter().map(|job| &job.id).eq(&job_ids) {
                    return Ok(Started { run_id, job_ids, fresh: false });
                }
                Err(Error::Conflict { why: format!("the id {run_id} belongs to another run") })
            }
            other => other,
        }
    }

    /// Asks a job to stop. A queued job ends at once. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Refused`] if it has ended.
    pub async fn cancel_job(
        &self,
        by: By,
        organisation_id: OrganisationId,
        job_id: JobId,
        reason: String,
        now: Time,
    ) -> Result<(), Error> {
        let cancel = cancel::Cancel::new(by, reason, now);
        self.command(move |tx| cancel::job(tx, &cancel, &organisation_id, &job_id)).await
    }

    /// Decides on a step of a job that asks. Whether somebody may is for the caller to know.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Refused`] if the job has ended, the step asks for nothing, or it was
    /// decided before.
    pub async fn decide_job(
        &self,
        organisation_id: OrganisationId,
        job_id: JobId,
        step_id: windlass_run::StepId,
        decision: job::Decision,
    ) -> Result<(), Error> {
        self.command(move |tx| decide::job(tx, &organisation_id, &job_id, &step_id, &decision))
            .await
    }

    /// Asks all jobs of a run that have not ended to stop. Gives those jobs.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn cancel_run(
        &self,
        by: By,
        organisation_id: OrganisationId,
        run_id: RunId,
        reason: String,
        now: Time,
    ) -> Result<Vec<JobId>, Error> {
        let cancel = cancel::Cancel::new(by, reason, now);
        self.command(move |tx| cancel::run(tx, &cancel, &organisation_id, &run_id)).await
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn runs(
        &self,
        organisation_id: &OrganisationId,
        filter: Filter,
        slice: Slice,
    ) -> Result<Vec<RunRow>, Error> {
        let (sql, values) =
            match rows::list(self.inner.dialect, "runs", organisation_id, filter, slice) {
                Some(list) => list,
                None => return Ok(vec![]),
            };
        self.query(&sql, values).await?.into_iter().map(rows::run).collect()
    }

    /// One run with its jobs, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn run(
        &self,
        organisation_id: &OrganisationId,
        run_id: &RunId,
    ) -> Result<(RunRow, Vec<JobRow>), Error> {
        let sql =
            format!("SELECT {} FROM runs WHERE id = $1 AND organisation_id = $2", RUN_COLUMNS);
        let values = vec![run_id.to_string().into(), organisation_id.to_string().into()];
        let run = self.query(&sql, values).await?.into_iter().next();
        let not_found = || Error::NotFound { what: "run", id: run_id.to_string() };
        let run = rows::run(run.ok_or_else(not_found)?)?;
        let sql = format!("SELECT {} FROM jobs WHERE run_number = $1 ORDER BY number", JOB_COLUMNS);
        let jobs = self.query(&sql, vec![run.number.into()]).await?;
        let jobs = jobs.into_iter().map(rows::job).collect::<Result<_, _>>()?;
        Ok((run, jobs))
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn jobs(
        &self,
        organisation_id: &OrganisationId,
        filter: Filter,
        slice: Slice,
    ) -> Result<Vec<JobRow>, Error> {
        let (sql, values) =
            match rows::list(self.inner.dialect, "jobs", organisation_id, filter, slice) {
                Some(list) => list,
                None => return Ok(vec![]),
            };
        self.query(&sql, values).await?.into_iter().map(rows::job).collect()
    }

    /// One job with everything that is known of it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn job(
        &self,
        organisation_id: &OrganisationId,
        job_id: &JobId,
    ) -> Result<JobDetail, Error> {
        let row = self.job_row(organisation_id, job_id).await?;
        let sql = "SELECT at, events FROM job_events WHERE job_id = $1 AND seq <= $2 ORDER BY seq";
        let values = vec![job_id.to_string().into(), row.seq.into()];
        let journal = self.query(sql, values).await?;
        let (state, step_times) = rows::fold(job_id, journal)?;
        Ok(JobDetail { row, state, step_times })
    }

    /// Entries of a job's journal after `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn journal(
        &self,
        organisation_id: &OrganisationId,
        job_id: &JobId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<JournalEntry>, Error> {
        self.job_row(organisation_id, job_id).await?;
        let sql = "SELECT seq, at, who, events FROM job_events WHERE job_id = $1 AND seq > $2 \
                   ORDER BY seq LIMIT $3";
        let values = vec![job_id.to_string().into(), after.into(), limit.into()];
        let decisions = self.query(sql, values).await?;
        rows::journal(decisions, after, limit)
    }

    /// How many jobs stand how, in the organisation or in one project of it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn counts(
        &self,
        organisation_id: &OrganisationId,
        project_id: Option<&ProjectId>,
    ) -> Result<Counts, Error> {
        let sql = "SELECT name, n FROM counters WHERE organisation_id = $1 AND scope = $2";
        let scope = project_id.map(ToString::to_string).unwrap_or_default();
        let values = vec![organisation_id.to_string().into(), scope.into()];
        rows::counts(self.query(sql, values).await?)
    }

    /// One job as lists show it.
    pub(crate) async fn job_row(
        &self,
        organisation_id: &OrganisationId,
        job_id: &JobId,
    ) -> Result<JobRow, Error> {
        let sql =
            format!("SELECT {} FROM jobs WHERE id = $1 AND organisation_id = $2", JOB_COLUMNS);
        let values = vec![job_id.to_string().into(), organisation_id.to_string().into()];
        let row = self.query(&sql, values).await?.into_iter().next();
        rows::job(row.ok_or_else(|| Error::NotFound { what: "job", id: job_id.to_string() })?)
    }
}

/// All entries of a journal.
pub(crate) fn journal_of(decisions: Vec<crate::database::Row>) -> Result<Vec<JournalEntry>, Error> {
    rows::journal(decisions, 0, u32::MAX)
}
