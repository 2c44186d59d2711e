//! How ready projects were found to be for agents. The store does not look into a report.

use windlass_run::{JobId, OrganisationId, ProjectId, RunId, RunnerId, StepId, Time};

use crate::{Error, Store, database::Row, work::speaks_for, writer::tx::Tx};

const COLUMNS: &str = "job_id, step_id, run_id, score, report, at";

/// A report to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReadiness {
    /// The job.
    pub job_id: JobId,
    /// The step that found it.
    pub step_id: StepId,
    /// From 0 to 100.
    pub score: u32,
    /// The report, as JSON.
    pub report: String,
}

/// A report that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadinessRow {
    /// The job.
    pub job_id: JobId,
    /// The step that found it.
    pub step_id: StepId,
    /// The run.
    pub run_id: RunId,
    /// From 0 to 100.
    pub score: u32,
    /// The report, as JSON.
    pub report: String,
    /// When it was kept.
    pub at: Time,
}

impl Store {
    /// Keeps a report. One that is there for the same job and step is replaced. Gives false if the
    /// lease is lost.
    ///
    /// # Errors
    /// [`Error::Full`] and the like.
    pub async fn keep_readiness(
        &self,
        runner_id: RunnerId,
        epoch: u64,
        new: NewReadiness,
        now: Time,
    ) -> Result<bool, Error> {
        self.command(move |tx| keep(tx, &runner_id, epoch, &new, now)).await
    }

    /// The reports of a project, newest first, older than `before` where given; or only that of a job.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn readiness(
        &self,
        organisation_id: &OrganisationId,
        project_id: &ProjectId,
        job_id: Option<&JobId>,
        before: Option<Time>,
        limit: u32,
    ) -> Result<Vec<ReadinessRow>, Error> {
        let only = if job_id.is_some() { "AND job_id = $4" } else { "" };
        let last = if job_id.is_some() { "$5" } else { "$4" };
        let sql = format!(
            "SELECT {COLUMNS} FROM readiness WHERE project_id = $1 AND organisation_id = $2 \
             AND at < $3 {only} ORDER BY at DESC, job_id DESC, step_id DESC LIMIT {last}"
        );
        let mut values = vec![
            project_id.to_string().into(),
            organisation_id.to_string().into(),
            before.unwrap_or(Time::from_micros(i64::MAX)).into(),
        ];
        values.extend(job_id.map(|job_id| job_id.to_string().into()));
        values.push(limit.clamp(1, 1_000).into());
        self.query(&sql, values).await?.into_iter().map(row).collect()
    }
}

fn row(mut row: Row) -> Result<ReadinessRow, Error> {
    let invalid = |why: windlass_run::InvalidId| Error::Database { context: why.to_string() };
    let step_id = row.text(1)?;
    Ok(ReadinessRow {
        job_id: row.parsed(0)?,
        step_id: StepId::parse(&step_id).map_err(invalid)?,
        run_id: row.parsed(2)?,
        score: u32::try_from(row.natural(3)?).unwrap_or(u32::MAX),
        report: row.text(4)?,
        at: row.time(5)?,
    })
}

fn keep(
    tx: &mut Tx<'_>,
    runner_id: &RunnerId,
    epoch: u64,
    new: &NewReadiness,
    now: Time,
) -> Result<bool, Error> {
    let Some(job) = tx.job(&new.job_id)? else { return Ok(false) };
    let has_step = job.state.steps.iter().any(|step| step.id == new.step_id);
    if !speaks_for(tx, runner_id, &job, epoch) || !has_step {
        return Ok(false);
    }
    tx.write(
        "INSERT INTO readiness (job_id, step_id, organisation_id, project_id, run_id, score, report, at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (job_id, step_id) DO UPDATE SET score = excluded.score, \
         report = excluded.report, at = excluded.at",
        &[
            new.job_id.as_str().into(),
            new.step_id.as_str().into(),
            job.organisation_id.as_str().into(),
            job.project_id.as_str().into(),
            job.run_id.as_str().into(),
            new.score.into(),
            (&new.report).into(),
            now.into(),
        ],
    )?;
    Ok(true)
}
