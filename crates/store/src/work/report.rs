//! Takes a runner's reports and heartbeats of one job.

use windlass_run::{
    Duration, JobId, RunnerId, Time,
    job::{Command, Phase, Refusal},
};

use crate::{
    Error,
    work::{Hold, JobAnswer, JobReports, lease, runners},
    writer::{
        memory::Job,
        tx::{Tx, who},
    },
};

/// Takes reports in order. Each is decided for itself; the first refusal ends the taking.
pub(super) fn report(
    tx: &mut Tx<'_>,
    runner_id: &RunnerId,
    reports: &JobReports,
    ttl: Duration,
    now: Time,
) -> Result<JobAnswer, Error> {
    runners::heard(tx, runner_id, now);
    let JobReports { job_id, epoch, reports, release } = reports;
    let Some(mut job) = tx.job(job_id)?.filter(|job| speaks_for(tx, runner_id, job, *epoch)) else {
        return Ok(lost(job_id));
    };
    let by = who(&lease::runner(runner_id, &job));
    let heartbeat = Command::Heartbeat { epoch: *epoch, ttl };
    if let Ok(renewed) = tx.decide(&job, &heartbeat, &by, now)? {
        job = renewed;
    }
    let mut refused = None;
    for numbered in reports {
        let command =
            Command::Report { epoch: *epoch, seq: numbered.seq, report: numbered.report.clone() };
        match tx.decide(&job, &command, &by, numbered.at.min(now))? {
            Ok(changed) => job = changed,
            Err(Refusal::Ended) => break,
            Err(refusal) => {
                refused = Some(refusal.to_string());
                break;
            }
        }
    }
    if let (Some(reason), None) = (release, &refused) {
        let command = Command::Release { epoch: *epoch, reason: reason.clone() };
        if let Ok(changed) = tx.decide(&job, &command, &by, now)? {
            job = changed;
        }
    }
    let mut answer = stand(&job, *epoch);
    answer.refused = refused;
    Ok(answer)
}

/// Gives a job back.
pub(super) fn release(
    tx: &mut Tx<'_>,
    runner_id: &RunnerId,
    job_id: &JobId,
    epoch: u64,
    reason: &str,
    now: Time,
) -> Result<(), Error> {
    let stale = Refusal::StaleEpoch { given: epoch, current: 0 };
    let job = tx.job(job_id)?.filter(|job| speaks_for(tx, runner_id, job, epoch)).ok_or(stale)?;
    let by = who(&lease::runner(runner_id, &job));
    tx.decide(&job, &Command::Release { epoch, reason: reason.to_owned() }, &by, now)??;
    Ok(())
}

/// True if the runner holds the job under this epoch, or held it when it ended.
pub(crate) fn speaks_for(tx: &Tx<'_>, runner_id: &RunnerId, job: &Job, epoch: u64) -> bool {
    let known = tx.memory.runners.get(runner_id);
    let same_organisation = known.is_some_and(|r| r.organisation_id == job.organisation_id);
    same_organisation
        && job.state.epoch == epoch
        && match &job.state.phase {
            Phase::Leased { runner_id: holder, .. } => holder == runner_id,
            Phase::Ended(_) => true,
            Phase::Queued { .. } => false,
        }
}

fn stand(job: &Job, epoch: u64) -> JobAnswer {
    let hold = match &job.state.phase {
        Phase::Leased { .. } if job.state.epoch == epoch => Hold::Held,
        Phase::Ended(_) if job.state.epoch == epoch => Hold::Ended,
        Phase::Leased { .. } | Phase::Queued { .. } | Phase::Ended(_) => Hold::Lost,
    };
    JobAnswer {
        job_id: job.id.clone(),
        hold,
        accepted: if hold == Hold::Lost { 0 } else { job.state.last_report },
        cancel: job.state.cancel.clone(),
        effects: job.state.effects.clone(),
        decisions: job.state.decisions(),
        refused: None,
    }
}

fn lost(job_id: &JobId) -> JobAnswer {
    JobAnswer {
        job_id: job_id.clone(),
        hold: Hold::Lost,
        accepted: 0,
        cancel: None,
        effects: vec![],
        decisions: vec![],
        refused: None,
    }
}
