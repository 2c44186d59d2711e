//! Grants: who may act on an effect, one at a time.

use crate::{
    Duration, EffectKey, Time,
    effect::{self, Effect, Executor},
    job::{
        Event, Phase, Refusal, State,
        decide::{held, illegal},
    },
};

/// A request for a grant.
pub(super) struct Ask {
    epoch: u64,
    executor: Executor,
    ttl: Duration,
    looked: bool,
}

impl Ask {
    pub(super) fn new(epoch: u64, executor: Executor, ttl: Duration, looked: bool) -> Self {
        Self { epoch, executor, ttl, looked }
    }
}

pub(super) fn grant(
    state: &State,
    key: &EffectKey,
    ask: Ask,
    now: Time,
) -> Result<Vec<Event>, Refusal> {
    if matches!(state.phase, Phase::Ended(_)) {
        return Err(Refusal::Ended);
    }
    let effect = find(state, key, ask.executor)?;
    if ask.executor == Executor::Runner {
        held(state, ask.epoch)?;
    }
    let refuse = |why: &str| Err(Refusal::NotGranted { why: why.to_owned() });
    if state.cancel.is_some() {
        return refuse("somebody asked the job to stop");
    }
    let grants = match &effect.state {
        effect::State::Staged => 1,
        effect::State::Granted { until, .. } if now < *until => {
            return refuse("an earlier grant is still in force and nothing was recorded under it");
        }
        effect::State::Granted { grants, .. } if ask.looked => grants + 1,
        effect::State::Granted { .. } => {
            return refuse("an earlier grant expired: look first whether it happened");
        }
        effect::State::Done(_) => return refuse("it is done"),
        effect::State::Failed { .. } => return refuse("it failed for good"),
        effect::State::Unknown { .. } => {
            return refuse("nobody knows whether it happened: a person must decide");
        }
    };
    let granted = effect::State::Granted { epoch: ask.epoch, until: now + ask.ttl, grants };
    Ok(vec![Event::EffectChanged { key: key.clone(), state: granted }])
}

/// The effect with that key, if the executor is the one that its kind wants.
pub(super) fn find<'a>(
    state: &'a State,
    key: &EffectKey,
    executor: Executor,
) -> Result<&'a Effect, Refusal> {
    let effect = state
        .effects
        .iter()
        .find(|effect| effect.key == *key)
        .ok_or_else(|| illegal(format!("this job has no effect {key}")))?;
    if effect.request.executor() != executor {
        return Err(illegal(format!("{key} is not executed by a {executor:?}").to_lowercase()));
    }
    Ok(effect)
}
