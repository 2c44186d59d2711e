//! Asks jobs to stop.

use std::sync::Arc;

use windlass_run::{
    JobId, OrganisationId, RunId, Time,
    actor::By,
    job::{self, Command, Refusal},
};

use crate::{
    Error, fleets,
    writer::tx::{Tx, who},
};

/// A request to stop.
pub(crate) struct Cancel {
    command: Command,
    who: Arc<str>,
    detail: String,
    now: Time,
}

impl Cancel {
    pub(crate) fn new(by: By, reason: String, now: Time) -> Self {
        let detail = serde_json::json!({ "reason": reason }).to_string();
        let who = who(&by);
        Self { command: Command::Cancel(job::Cancel { by, reason, at: now }), who, detail, now }
    }
}

/// Asks one job.
pub(super) fn job(
    tx: &mut Tx<'_>,
    cancel: &Cancel,
    organisation_id: &OrganisationId,
    job_id: &JobId,
) -> Result<(), Error> {
    let job = tx.own_job(organisation_id, job_id)?;
    let asked_before = job.state.cancel.is_some();
    tx.decide(&job, &cancel.command, &cancel.who, cancel.now)??;
    if !asked_before {
        let subject = job_id.to_string();
        tx.audit(&cancel.who, organisation_id, "job.cancel", subject, &*cancel.detail, cancel.now);
    }
    Ok(())
}

/// Asks all jobs of a run that have not ended.
pub(crate) fn run(
    tx: &mut Tx<'_>,
    cancel: &Cancel,
    organisation_id: &OrganisationId,
    run_id: &RunId,
) -> Result<Vec<JobId>, Error> {
    let run = tx.run(run_id)?;
    if run.organisation_id != *organisation_id {
        return Err(Error::NotFound { what: "run", id: run_id.to_string() });
    }
    if let Some(fleet) = tx.fleet(run_id)? {
        let Command::Cancel(job::Cancel { by, reason, .. }) = &cancel.command else {
            return Ok(Vec::new());
        };
        fleets::command::cancel(tx, &fleet, by, reason, cancel.now)?;
        return Ok(Vec::new());
    }
    let sql = "SELECT id FROM jobs WHERE run_number = $1 AND ended_at IS NULL ORDER BY number";
    let mut asked = Vec::new();
    for mut row in tx.read_all(sql, &[run.number.into()])? {
        let job_id: JobId = row.parsed(0)?;
        let job = tx.own_job(organisation_id, &job_id)?;
        match tx.decide(&job, &cancel.command, &cancel.who, cancel.now)? {
            Ok(_) => asked.push(job_id),
            Err(Refusal::Ended) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    let subject = run_id.to_string();
    tx.audit(&cancel.who, organisation_id, "run.cancel", subject, &*cancel.detail, cancel.now);
    Ok(asked)
}
