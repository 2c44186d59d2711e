//! Grants and records of effects.

use std::sync::Arc;

use windlass_run::{
    Duration, EffectKey, JobId, Time,
    actor::By,
    effect,
    job::{Command, Refusal},
};

use crate::{
    Error,
    work::{Executor, GrantAnswer, lease, report},
    writer::{
        memory::Job,
        tx::{Tx, who},
    },
};

/// A request for a grant.
pub(super) struct Grant {
    pub key: EffectKey,
    pub ttl: Duration,
    pub looked: bool,
}

/// Asks for a grant.
pub(super) fn grant(
    tx: &mut Tx<'_>,
    executor: &Executor,
    job_id: &JobId,
    grant: &Grant,
    now: Time,
) -> Result<GrantAnswer, Error> {
    let Some((job, acting)) = acting(tx, executor, job_id)? else { return Ok(GrantAnswer::Lost) };
    let command = Command::Grant {
        key: grant.key.clone(),
        epoch: acting.epoch,
        executor: acting.kind,
        ttl: grant.ttl,
        looked: grant.looked,
    };
    give(tx, &job, &command, &acting, &grant.key, now)
}

/// Records an outcome.
pub(super) fn record(
    tx: &mut Tx<'_>,
    executor: &Executor,
    job_id: &JobId,
    key: &EffectKey,
    state: &effect::State,
    now: Time,
) -> Result<GrantAnswer, Error> {
    let Some((job, acting)) = acting(tx, executor, job_id)? else { return Ok(GrantAnswer::Lost) };
    let command = Command::Record {
        key: key.clone(),
        epoch: acting.epoch,
        executor: acting.kind,
        state: state.clone(),
    };
    give(tx, &job, &command, &acting, key, now)
}

/// An executor as the job machine knows it.
struct Acting {
    kind: effect::Executor,
    epoch: u64,
    who: Arc<str>,
}

/// The job and its executor; absent if a runner has no say in it.
fn acting(
    tx: &mut Tx<'_>,
    executor: &Executor,
    job_id: &JobId,
) -> Result<Option<(Arc<Job>, Acting)>, Error> {
    let not_found = || Error::NotFound { what: "job", id: job_id.to_string() };
    let job = tx.job(job_id)?.ok_or_else(not_found)?;
    let acting = match executor {
        Executor::Runner { runner_id, epoch } => {
            if !report::speaks_for(tx, runner_id, &job, *epoch) {
                return Ok(None);
            }
            let who = who(&lease::runner(runner_id, &job));
            Acting { kind: effect::Executor::Runner, epoch: *epoch, who }
        }
        Executor::Server { name } => {
            let on_behalf_of = Some(job.state.by.actor.clone());
            let who = who(&By { on_behalf_of, ..By::system(name) });
            Acting { kind: effect::Executor::Server, epoch: tx.memory.generation, who }
        }
    };
    Ok(Some((job, acting)))
}

fn give(
    tx: &mut Tx<'_>,
    job: &Arc<Job>,
    command: &Command,
    acting: &Acting,
    key: &EffectKey,
    now: Time,
) -> Result<GrantAnswer, Error> {
    Ok(match tx.decide(job, command, &acting.who, now)? {
        Ok(job) => match job.state.effects.iter().find(|effect| effect.key == *key) {
            Some(effect) => GrantAnswer::Effect(effect.state.clone()),
            None => GrantAnswer::Refused(format!("this job has no effect {key}")),
        },
        Err(Refusal::StaleEpoch { .. }) => GrantAnswer::Lost,
        Err(refusal) => GrantAnswer::Refused(refusal.to_string()),
    })
}
