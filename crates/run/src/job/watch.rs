//! The watchdog: expired leases, passed limits, requests to stop that nobody answered, steps that
//! should long be over. It judges progress, not liveness, and a second look changes nothing.

use crate::{
    Duration, Time,
    effect::{self, Executor},
    job::{Event, Phase, State, StepPhase, decision, end},
};

/// How long the server waits, after a limit has passed or somebody asked the job to stop, for the
/// runner to say so itself.
pub const GRACE: Duration = Duration::from_secs(30);

/// The longest rest of a job between two leases that were lost.
const LONGEST_REST: Duration = Duration::from_secs(60);

pub(super) fn watch(state: &State, now: Time) -> Vec<Event> {
    let mut events = match &state.phase {
        Phase::Queued { .. } if duration_is_over(state, now) => {
            end::end(state, end::duration(state))
        }
        Phase::Queued { .. } => decision::overdue(state, now),
        Phase::Leased { deadline, .. } if *deadline <= now => {
            lost(state, "The runner that had this job was not heard of any more", now)
        }
        Phase::Leased { .. } => overdue(state, now),
        Phase::Ended(_) => vec![],
    };
    let over = matches!(state.phase, Phase::Ended(_));
    if over || matches!(events.last(), Some(Event::Ended(_))) {
        events.extend(forgotten_grants(state, now));
    }
    events
}

/// When the watchdog should look again, as things stand; absent if it need not.
pub(super) fn watch_at(state: &State) -> Option<Time> {
    let limit = limit_at(state);
    let undecided = decision::overdue_at(state);
    match &state.phase {
        Phase::Queued { .. } if state.resting_since.is_some() => undecided,
        Phase::Queued { .. } => [limit, undecided].into_iter().flatten().min(),
        Phase::Leased { deadline, .. } => {
            let mut at = *deadline;
            let cancel = state.cancel.as_ref().map(|cancel| cancel.at + GRACE);
            let limit = limit.map(|limit| limit + GRACE);
            let step = running_until(state).map(|(_, until)| until);
            for other in [cancel, limit, step, undecided].into_iter().flatten() {
                at = at.min(other);
            }
            Some(at)
        }
        Phase::Ended(_) => runner_grants(state).map(|(_, until)| until + GRACE).min(),
    }
}

/// True once the job's time limit has passed. It counts from the first lease.
pub(super) fn duration_is_over(state: &State, now: Time) -> bool {
    state.resting_since.is_none() && limit_at(state).is_some_and(|limit| limit <= now)
}

/// When the job's time limit passes, if it does not rest before. It counts from the first lease.
pub(super) fn limit_at(state: &State) -> Option<Time> {
    state.started_at.map(|started_at| started_at + state.rested + state.spec.limits.duration)
}

fn lost(state: &State, why: &str, now: Time) -> Vec<Event> {
    if let Some(cancel) = &state.cancel {
        return end::end(state, end::cancelled(cancel));
    }
    if duration_is_over(state, now) {
        return end::end(state, end::duration(state));
    }
    if state.requeues >= state.spec.limits.requeues {
        return end::end(state, end::lease_lost(state, why));
    }
    // The first time at once: most often it was the runner's restart. Then slower and slower.
    let rest = match state.requeues {
        0 => Duration::default(),
        n => Duration::from_secs(1).times_capped(1 << (n - 1).min(30), LONGEST_REST),
    };
    vec![Event::Requeued { reason: format!("{why}."), counted: true, not_before: now + rest }]
}

fn overdue(state: &State, now: Time) -> Vec<Event> {
    if let Some(cancel) = &state.cancel
        && cancel.at + GRACE <= now
    {
        return end::end(state, end::cancelled(cancel));
    }
    if let Some(limit) = limit_at(state)
        && limit + GRACE <= now
    {
        return end::end(state, end::duration(state));
    }
    match running_until(state) {
        Some((index, until)) if until <= now => {
            let step_id = &state.steps[index].id;
            lost(state, &format!("The runner did not end step `{step_id}` at its time limit"), now)
        }
        Some(_) | None => decision::overdue(state, now),
    }
}

/// The running step that should be over first, and when even a slow runner should have ended it.
fn running_until(state: &State) -> Option<(usize, Time)> {
    let running = state.steps.iter().enumerate().filter_map(|(i, step)| match step.phase {
        StepPhase::Running { since } => Some((i, since + state.definition(i).timeout + GRACE)),
        _ => None,
    });
    running.min_by_key(|(_, until)| *until)
}

/// Grants of runners that nobody will record any more. Those of the server are settled by the
/// reconciler that looks at the far side.
fn forgotten_grants(state: &State, now: Time) -> Vec<Event> {
    let forgotten = runner_grants(state).filter(|(_, until)| *until + GRACE <= now);
    let unknown = forgotten.map(|(effect, _)| Event::EffectChanged {
        key: effect.key.clone(),
        state: effect::State::Unknown {
            reason: "The job ended while a runner was at it, and nothing was recorded.".to_owned(),
        },
    });
    unknown.collect()
}

fn runner_grants(state: &State) -> impl Iterator<Item = (&effect::Effect, Time)> {
    state.effects.iter().filter_map(|effect| match effect.state {
        effect::State::Granted { until, .. } if effect.request.executor() == Executor::Runner => {
            Some((effect, until))
        }
        _ => None,
    })
}
