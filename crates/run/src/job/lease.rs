//! Leases: given, renewed, given back.

use crate::{
    Duration, RunnerId, Time,
    job::{Event, Phase, Refusal, State, decide::held, watch},
};

/// How long a job that was given back rests, so that a runner that can't run it does not spin.
const REST_AFTER_RELEASE: Duration = Duration::from_secs(1);

pub(super) fn lease(
    state: &State,
    runner_id: &RunnerId,
    ttl: Duration,
    now: Time,
) -> Result<Vec<Event>, Refusal> {
    match &state.phase {
        Phase::Queued { not_before } if *not_before <= now => {}
        Phase::Queued { .. } | Phase::Leased { .. } => return Err(Refusal::NotQueued),
        Phase::Ended(_) => return Err(Refusal::Ended),
    }
    if watch::duration_is_over(state, now) {
        return Err(Refusal::NotQueued);
    }
    Ok(vec![Event::Leased {
        runner_id: runner_id.clone(),
        epoch: state.epoch + 1,
        deadline: now + ttl,
    }])
}

pub(super) fn heartbeat(
    state: &State,
    epoch: u64,
    ttl: Duration,
    now: Time,
) -> Result<Vec<Event>, Refusal> {
    held(state, epoch)?;
    let renewed = now + ttl;
    match state.phase {
        // A heartbeat that was overtaken by a later one changes nothing.
        Phase::Leased { deadline, .. } if deadline >= renewed => Ok(vec![]),
        _ => Ok(vec![Event::Renewed { deadline: renewed }]),
    }
}

pub(super) fn release(
    state: &State,
    epoch: u64,
    reason: &str,
    now: Time,
) -> Result<Vec<Event>, Refusal> {
    held(state, epoch)?;
    if let Some(cancel) = &state.cancel {
        return Ok(super::end::end(state, super::end::cancelled(cancel)));
    }
    Ok(vec![Event::Requeued {
        reason: reason.to_owned(),
        counted: false,
        not_before: now + REST_AFTER_RELEASE,
    }])
}
