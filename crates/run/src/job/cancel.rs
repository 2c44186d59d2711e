//! Somebody asks a job to stop.

use crate::job::{Cancel, Event, Phase, Refusal, State, end};

pub(super) fn cancel(state: &State, cancel: &Cancel) -> Result<Vec<Event>, Refusal> {
    match &state.phase {
        Phase::Ended(_) => Err(Refusal::Ended),
        Phase::Leased { .. } if state.cancel.is_some() => Ok(vec![]),
        Phase::Leased { .. } => Ok(vec![Event::CancelRequested(cancel.clone())]),
        Phase::Queued { .. } => {
            let mut events = vec![Event::CancelRequested(cancel.clone())];
            events.extend(end::end(state, end::cancelled(cancel)));
            Ok(events)
        }
    }
}
