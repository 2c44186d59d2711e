//! The outbox: effects that the server executes, each until it was recorded. A row comes with the
//! event that staged the effect and goes with the one that records its end, so there is no `ack`.
//! The ledger: every effect ever staged, and what came of it.

use windlass_run::{EffectKey, JobId, OrganisationId, ProjectId, RunId, StepId, Time, effect};

use crate::{Error, Store, database::Row};

/// An effect that waits for the server.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxItem {
    /// The effect's key.
    pub key: EffectKey,
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// The project.
    pub project_id: ProjectId,
    /// The run.
    pub run_id: RunId,
    /// The job.
    pub job_id: JobId,
    /// The job in one line.
    pub title: String,
    /// The step.
    pub step_id: StepId,
    /// What to do.
    pub request: effect::Request,
    /// How often it was tried and put off.
    pub tries: u32,
    /// Why it was put off last.
    pub last_problem: Option<String>,
}

/// An effect in the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerRow {
    /// The project.
    pub project_id: ProjectId,
    /// The run.
    pub run_id: RunId,
    /// The job.
    pub job_id: JobId,
    /// The effect.
    pub effect: effect::Effect,
    /// When it was staged.
    pub staged_at: Time,
    /// When its state last changed.
    pub changed_at: Time,
}

impl Store {
    /// Effects that are due, oldest first. Looking takes nothing: only a grant does.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn outbox(&self, now: Time, limit: u32) -> Result<Vec<OutboxItem>, Error> {
        let sql = "SELECT o.effect_key, o.organisation_id, e.project_id, e.run_id, o.job_id, \
                   j.title, e.step_id, e.request, o.tries, o.problem FROM outbox o \
                   JOIN effects e ON e.effect_key = o.effect_key \
                   JOIN jobs j ON j.id = o.job_id \
                   WHERE o.due <= $1 ORDER BY o.due LIMIT $2";
        let rows = self.query(sql, vec![now.into(), limit.clamp(1, 1_000).into()]).await?;
        rows.into_iter().map(item).collect()
    }

    /// Puts an effect off: it is due again at `until`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn put_off(&self, key: EffectKey, problem: String, until: Time) -> Result<(), Error> {
        self.command(move |tx| {
            tx.write(
                "UPDATE outbox SET due = $1, tries = tries + 1, problem = $2 WHERE effect_key = $3",
                &[until.into(), (&problem).into(), key.as_str().into()],
            )
        })
        .await
    }

    /// Holds an effect back that may not be carried out yet: it is due at `until`. That is no failure of it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn hold_back(&self, key: EffectKey, why: String, until: Time) -> Result<(), Error> {
        self.command(move |tx| {
            tx.write(
                "UPDATE outbox SET due = $1, problem = $2 WHERE effect_key = $3",
                &[until.into(), (&why).into(), key.as_str().into()],
            )
        })
        .await
    }

    /// The effects of a job, in the order in which they were staged.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn ledger(
        &self,
        organisation_id: &OrganisationId,
        job_id: &JobId,
    ) -> Result<Vec<LedgerRow>, Error> {
        self.job_row(organisation_id, job_id).await?;
        let sql = "SELECT project_id, run_id, effect_key, step_id, request, state, staged_at, \
                   changed_at FROM effects WHERE job_id = $1 ORDER BY place";
        let rows = self.query(sql, vec![job_id.to_string().into()]).await?;
        rows.into_iter().map(|row| ledger_row(job_id, row)).collect()
    }
}

fn step_id(text: &str) -> Result<StepId, Error> {
    StepId::parse(text).map_err(|why| Error::Database { context: why.to_string() })
}

/// An effect's key as it was stored.
fn key(text: String) -> Result<EffectKey, Error> {
    serde_json::from_value(serde_json::Value::String(text))
        .map_err(|why| Error::Database { context: why.to_string() })
}

fn item(mut row: Row) -> Result<OutboxItem, Error> {
    Ok(OutboxItem {
        key: key(row.text(0)?)?,
        organisation_id: row.parsed(1)?,
        project_id: row.parsed(2)?,
        run_id: row.parsed(3)?,
        job_id: row.parsed(4)?,
        title: row.text(5)?,
        step_id: step_id(&row.text(6)?)?,
        request: row.json(7)?,
        tries: row.small(8)?,
        last_problem: row.maybe_text(9)?,
    })
}

fn ledger_row(job_id: &JobId, mut row: Row) -> Result<LedgerRow, Error> {
    Ok(LedgerRow {
        project_id: row.parsed(0)?,
        run_id: row.parsed(1)?,
        job_id: job_id.clone(),
        effect: effect::Effect {
            key: key(row.text(2)?)?,
            step_id: step_id(&row.text(3)?)?,
            request: row.json(4)?,
            state: row.json(5)?,
        },
        staged_at: row.time(6)?,
        changed_at: row.time(7)?,
    })
}
