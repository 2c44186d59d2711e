//! The watchdog over all jobs: a timer per job that has something to be watched for.

use windlass_run::{
    Time,
    actor::By,
    job::{Command, Phase},
};

use crate::{
    Error,
    work::Watched,
    writer::tx::{Tx, who},
};

/// How many jobs one look takes at most; the next look takes the rest.
const AT_ONCE: usize = 1_000;

/// Looks at every job whose time has come.
pub(super) fn watch(tx: &mut Tx<'_>, now: Time) -> Result<Watched, Error> {
    let by = who(&By::system("watchdog"));
    let mut watched = Watched::default();
    for _ in 0..AT_ONCE {
        let Some((at, job_id)) = tx.memory.next_timer().cloned() else { return Ok(watched) };
        if at > now {
            watched.next = Some(at);
            return Ok(watched);
        }
        let Some(job) = tx.job(&job_id)? else {
            tx.memory.put_job(&job_id, None);
            continue;
        };
        // Reading the job may have set its timer anew.
        if tx.memory.watch_at(&job).is_none_or(|at| at > now) {
            continue;
        }
        let before = job.state.phase.clone();
        let decided = job.state.decisions().len();
        let job = tx.decide(&job, &Command::Watch, &by, now)??;
        match (&before, &job.state.phase) {
            (Phase::Leased { .. }, Phase::Queued { .. }) => watched.requeued.push(job_id),
            (Phase::Leased { .. } | Phase::Queued { .. }, Phase::Ended(_)) => {
                watched.ended.push(job_id);
            }
            (Phase::Ended(_), Phase::Ended(_)) => {}
            // Nobody decided on a step that asks: it was decided for them.
            _ if job.state.decisions().len() > decided => {}
            _ => {
                let context = format!("the watchdog can do nothing about {job_id}");
                return Err(Error::Database { context });
            }
        }
    }
    watched.next = Some(now);
    Ok(watched)
}
