//! What the runner that holds the lease does next.

use crate::{
    Time,
    job::{End, Next, Outcome, Phase, State, StepPhase, end, watch},
};

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
    for (index, step) in state.steps.iter().enumerate() {
        match &step.phase {
            StepPhase::Pending => return Next::Start { index },
            StepPhase::Running { .. } => return Next::Continue { index },
            StepPhase::Backoff { until } if *until <= now => return Next::Start { index },
            StepPhase::Backoff { until } => return Next::Wait { until: *until },
            StepPhase::Succeeded => {}
            StepPhase::Failed { .. } if state.spec.steps[index].continue_on_error => {}
            StepPhase::Failed { reason } => {
                return Next::Stop(End {
                    outcome: Outcome::Failed,
                    code: "step_failed".into(),
                    reason: format!("Step `{}` failed: {reason}", step.id),
                    give_up: None,
                });
            }
        }
    }
    Next::Ended
}

impl State {
    /// True if the job goes on after the step at `index`: it ended well, or failed and may.
    pub(super) fn is_passed(&self, index: usize) -> bool {
        match self.steps[index].phase {
            StepPhase::Succeeded => true,
            StepPhase::Failed { .. } => self.spec.steps[index].continue_on_error,
            StepPhase::Pending | StepPhase::Running { .. } | StepPhase::Backoff { .. } => false,
        }
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
