//! Gives waiting jobs to runners, oldest first.

use windlass_run::{
    OrganisationId, Time,
    actor::{Actor, By},
    job::Command,
};

use crate::{
    Error,
    work::{LeaseAsk, Leased, runners},
    writer::{
        memory::Job,
        queue::{Place, Queue, WINDOW},
        tx::{Tx, who},
    },
};

/// Leases jobs that are due.
pub(super) fn lease(tx: &mut Tx<'_>, ask: &LeaseAsk, now: Time) -> Result<Vec<Leased>, Error> {
    let known = tx.memory.runners.get(&ask.runner_id);
    if known.is_none_or(|known| known.organisation_id != ask.organisation_id) {
        return Err(Error::NotFound { what: "runner", id: ask.runner_id.to_string() });
    }
    runners::heard(tx, &ask.runner_id, now);
    let command = Command::Lease { runner_id: ask.runner_id.clone(), ttl: ask.ttl };
    let mut leased = Vec::new();
    while leased.len() < ask.max as usize {
        let Some((not_before, _, job_id)) = first(tx, &ask.organisation_id)? else { break };
        if not_before > now {
            break;
        }
        let job = tx.own_job(&ask.organisation_id, &job_id)?;
        let by = who(&runner(&ask.runner_id, &job));
        match tx.decide(&job, &command, &by, now)? {
            Ok(job) => leased.push(answer(&job)),
            Err(_) => {
                // Its time is over while it waits: the watchdog ends it. Whatever else it may be
                // must not stay at the head of the queue.
                let by = who(&By::system("watchdog"));
                let job = tx.decide(&job, &Command::Watch, &by, now)??;
                if matches!(job.state.phase, windlass_run::job::Phase::Queued { .. }) {
                    let context = format!("{job_id} waits, but can't be leased");
                    return Err(Error::Database { context });
                }
            }
        }
    }
    Ok(leased)
}

/// When the first waiting job becomes due.
pub(super) fn next_due(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
) -> Result<Option<Time>, Error> {
    Ok(first(tx, organisation_id)?.map(|(not_before, ..)| not_before))
}

/// A runner acts for whoever asked for the job.
pub(super) fn runner(runner_id: &windlass_run::RunnerId, job: &Job) -> By {
    By { actor: Actor::Runner(runner_id.clone()), on_behalf_of: Some(job.state.by.actor.clone()) }
}

fn answer(job: &Job) -> Leased {
    Leased {
        job_id: job.id.clone(),
        run_id: job.run_id.clone(),
        project_id: job.project_id.clone(),
        title: job.title.to_string(),
        epoch: job.state.epoch,
        state: job.state.clone(),
    }
}

/// The first waiting job; the head of the queue is read from the database where it is used up.
fn first(tx: &mut Tx<'_>, organisation_id: &OrganisationId) -> Result<Option<Place>, Error> {
    if tx.memory.queues.get(organisation_id).is_none_or(Queue::is_worn) {
        let sql = "SELECT not_before, number, id FROM jobs WHERE organisation_id = $1 \
                   AND standing = 'queued' ORDER BY not_before, number LIMIT $2";
        let limit = WINDOW as u64;
        let rows = tx.read_all(sql, &[organisation_id.as_str().into(), limit.into()])?;
        let complete = rows.len() < WINDOW;
        let mut places = Vec::with_capacity(rows.len());
        for mut row in rows {
            places.push((row.time(0)?, row.natural(1)?, row.parsed(2)?));
        }
        tx.memory.queues.insert(organisation_id.clone(), Queue::read(places, complete));
    }
    Ok(tx.memory.queues.get(organisation_id).and_then(|queue| queue.first().cloned()))
}
