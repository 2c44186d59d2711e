//! Gives waiting jobs to runners, oldest first.

use windlass_run::{
    Labels, OrganisationId, RunnerId, Time,
    actor::{Actor, By},
    job::Command,
};

use crate::{
    Error,
    work::{LeaseAsk, Leased, Leases, Wish, runners},
    writer::{
        memory::Job,
        queue::{Place, Queue, Queues, WINDOW},
        tx::{Tx, who},
    },
};

/// Leases jobs that are due and that the runner can take.
pub(super) fn lease(tx: &mut Tx<'_>, ask: &LeaseAsk, now: Time) -> Result<Leases, Error> {
    let known = runners::known(tx, &ask.organisation_id, &ask.runner_id)?;
    let (wish, labels) = (known.wish, known.labels.clone());
    runners::heard(tx, &ask.runner_id, now);
    if wish != Wish::Work {
        return Ok(Leases { wish, leases: Vec::new() });
    }
    let command = Command::Lease { runner_id: ask.runner_id.clone(), ttl: ask.ttl };
    let mut leased = Vec::new();
    while leased.len() < ask.max as usize {
        let Some((not_before, _, job_id)) = first(tx, &ask.organisation_id, &labels)? else {
            break;
        };
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
    Ok(Leases { wish, leases: leased })
}

/// When the first waiting job that the runner can take becomes due.
pub(super) fn next_due(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    runner_id: &RunnerId,
) -> Result<Option<Time>, Error> {
    let known = runners::known(tx, organisation_id, runner_id)?;
    if known.wish != Wish::Work {
        return Ok(None);
    }
    let labels = known.labels.clone();
    Ok(first(tx, organisation_id, &labels)?.map(|(not_before, ..)| not_before))
}

/// A runner acts for whoever asked for the job.
pub(super) fn runner(runner_id: &RunnerId, job: &Job) -> By {
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

/// The first waiting job that a runner with these labels can take; the head of a queue is read from the
/// database where it is used up.
fn first(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    labels: &Labels,
) -> Result<Option<Place>, Error> {
    if !tx.memory.queues.contains_key(organisation_id) {
        let sql = "SELECT DISTINCT runs_on FROM jobs WHERE organisation_id = $1 \
                   AND standing = 'queued'";
        let rows = tx.read_all(sql, &[organisation_id.as_str().into()])?;
        let needed = rows.into_iter().map(|mut row| row.parsed(0));
        let queues = Queues::unread(needed.collect::<Result<Vec<Labels>, _>>()?);
        tx.memory.queues.insert(organisation_id.clone(), queues);
    }
    let queues = |tx: &Tx<'_>| tx.memory.queues.get(organisation_id).and_then(|q| q.worn(labels));
    while let Some(needs) = queues(tx) {
        let queue = read(tx, organisation_id, &needs)?;
        let queues = tx.memory.queues.entry(organisation_id.clone()).or_default();
        queues.put(needs, queue);
    }
    let queues = tx.memory.queues.get(organisation_id);
    Ok(queues.and_then(|queues| queues.first(labels).cloned()))
}

/// Reads the head of a queue.
fn read(tx: &mut Tx<'_>, organisation_id: &OrganisationId, needs: &Labels) -> Result<Queue, Error> {
    let sql = "SELECT not_before, number, id FROM jobs WHERE organisation_id = $1 \
               AND runs_on = $2 AND standing = 'queued' ORDER BY not_before, number LIMIT $3";
    let (needs, limit) = (needs.to_string(), WINDOW as u64);
    let rows = tx.read_all(sql, &[organisation_id.as_str().into(), needs.into(), limit.into()])?;
    let complete = rows.len() < WINDOW;
    let mut places = Vec::with_capacity(rows.len());
    for mut row in rows {
        places.push((row.time(0)?, row.natural(1)?, row.parsed(2)?));
    }
    Ok(Queue::read(places, complete))
}
