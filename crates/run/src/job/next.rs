//! What the runner that holds the lease does next.

use crate::{
    Duration, Time,
    job::{Next, Phase, State, end, settle::Walk, watch},
};

/// The longest rest for which a runner keeps its lease. Starting anew elsewhere costs more than holding an
/// environment for so long.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What to do next, as the state stands. A runner asks after each event and acts on the answer.
pub fn next(state: &State, now: Time) -> Next {
    match &state.phase {
        Phase::Ended(_) => return Next::Ended,
        Phase::Queued { not_before } => return Next::Wait { until: *not_before },
        Phase::Leased { .. } => {}
    }
    if let Some(cancel) = &state.cancel {
        return Next::Stop(end::cancelled(cancel));
    }
    if watch::duration_is_over(state, now) {
        return Next::Stop(end::duration(state));
    }
    if let Some(limit) = state.spec.limits.tokens
        && state.tokens >= limit
    {
        return Next::Stop(end::tokens(state, limit));
    }
    let Ok(going) = Walk::through(state, now) else { return Next::Settle };
    if let Some(index) = going.decided.first() {
        return Next::Decided { index: *index };
    }
    if let Some((_, index)) = going.rests.iter().find(|(until, _)| *until <= now) {
        return Next::Rested { index: *index };
    }
    let (due, later): (Vec<_>, Vec<_>) =
        going.backoff.into_iter().partition(|(until, _)| *until <= now);
    let mut start = going.start;
    start.extend(due.into_iter().map(|(_, index)| index));
    start.sort_unstable();
    let again = later.iter().map(|(until, _)| *until).min();
    let rest = going.rests.iter().map(|(until, _)| *until).min();
    let until = [again, rest].into_iter().flatten().min();
    if !start.is_empty() || !going.running.is_empty() {
        return Next::Go { start, running: going.running, until };
    }
    match (again, rest) {
        (Some(again), _) => Next::Wait { until: rest.map_or(again, |rest| rest.min(again)) },
        (None, Some(rest)) if rest <= now + LONGEST_WAIT => Next::Wait { until: rest },
        (None, None) if going.asked.is_empty() => Next::Ended,
        (None, _) => Next::Rest,
    }
}

impl State {
    /// When its time limit passes, as things stand; absent before the first lease. Rests don't count.
    pub fn limit_at(&self) -> Option<Time> {
        watch::limit_at(self)
    }

    /// When the watchdog should look at this job next; absent if it need not.
    pub fn watch_at(&self) -> Option<Time> {
        watch::watch_at(self)
    }

    /// The number and address of the pull request that the job opened or updated last.
    pub fn pull_request(&self) -> Option<(u64, &str)> {
        end::pull_request(self)
    }
}
