//! Turns: a job that must not begin before another run is through is held, and goes on when it is its turn.
//! While it is held it rests: no runner has it, and its time does not pass.

use crate::{
    Time,
    job::{Event, Phase, Refusal, State, decide::illegal},
};

/// Later than everything: the end of the year 9999.
const NEVER: Time = Time::from_micros(253_402_300_799_000_000);

pub(super) fn hold(state: &State) -> Result<Vec<Event>, Refusal> {
    match state.phase {
        Phase::Ended(_) => Err(Refusal::Ended),
        Phase::Queued { .. } if state.epoch == 0 && state.resting_since.is_some() => Ok(vec![]),
        Phase::Queued { .. } if state.epoch == 0 => Ok(vec![Event::Rests { until: NEVER }]),
        Phase::Queued { .. } | Phase::Leased { .. } => {
            Err(illegal("a job is held before its first lease only"))
        }
    }
}

pub(super) fn go_on(state: &State, reason: &str, now: Time) -> Vec<Event> {
    let is_held = matches!(state.phase, Phase::Queued { not_before } if not_before == NEVER);
    if !is_held || state.epoch > 0 || state.resting_since.is_none() {
        return vec![];
    }
    vec![Event::Requeued { reason: reason.to_owned(), counted: false, not_before: now }]
}
