//! Decides on steps of jobs that ask.

use windlass_run::{
    JobId, OrganisationId, StepId,
    job::{Command, Decision},
};

use crate::{
    Error,
    writer::tx::{Tx, who},
};

/// Decides on one step, once.
pub(super) fn job(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    job_id: &JobId,
    step_id: &StepId,
    decision: &Decision,
) -> Result<(), Error> {
    let job = tx.own_job(organisation_id, job_id)?;
    let (by, now) = (who(&decision.by), decision.at);
    let command = Command::Decide { step_id: step_id.clone(), decision: decision.clone() };
    tx.decide(&job, &command, &by, now)??;
    let detail = serde_json::json!({
        "step": step_id, "verdict": decision.verdict, "note": decision.note,
    });
    tx.audit(&by, organisation_id, "job.decide", job_id.to_string(), detail.to_string(), now);
    Ok(())
}
