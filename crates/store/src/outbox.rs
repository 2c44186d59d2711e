//! The outbox: effects that the server executes, each until it was recorded. A row comes with the
//! event that staged the effect and goes with the one that records its end, so there is no `ack`.
//! The ledger: every effect ever staged, and what came of it.

use windlass_run::{EffectKey, JobId, OrganisationId, ProjectId, RunId, StepId, Time, effect};

use crate::{Error, Store};

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
        let _ = (now, limit);
        self.unfinished()
    }

    /// Puts an effect off: it is due again at `until`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn put_off(&self, key: EffectKey, problem: String, until: Time) -> Result<(), Error> {
        let _ = (key, problem, until);
        self.unfinished()
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
        let _ = (organisation_id, job_id);
        self.unfinished()
    }
}
