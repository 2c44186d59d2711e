//! Ends: every one has an outcome, a stable code and a reason that a person can act on, and leaves
//! nothing open behind it.

use crate::{
    StepId, effect,
    job::{Cancel, End, Event, Outcome, State, StepPhase},
};

/// The events of an end: what runs or rests has failed, what was only staged will not happen.
/// Effects under way stay granted: their executor records them after the end too.
pub(super) fn end(state: &State, end: End) -> Vec<Event> {
    end_after(state, usize::MAX, end)
}

/// As [`end`], where the step at `index` has had its last event already.
pub(super) fn end_after(state: &State, index: usize, end: End) -> Vec<Event> {
    let mut events = Vec::with_capacity(1);
    for (i, step) in state.steps.iter().enumerate() {
        let open = matches!(step.phase, StepPhase::Running { .. } | StepPhase::Backoff { .. });
        if i != index && open {
            let reason = format!("The job ended ({}) before this step did.", end.code);
            events.push(Event::StepFailed { step_id: step.id.clone(), reason });
        }
    }
    for effect in &state.effects {
        if effect.state == effect::State::Staged {
            let reason = format!("The job ended ({}) before anybody began it.", end.code);
            events.push(Event::EffectChanged {
                key: effect.key.clone(),
                state: effect::State::Failed { reason },
            });
        }
    }
    events.push(Event::Ended(end));
    events
}

/// All steps are over. `also_failed` is a step that fails with the same report and is passed over.
pub(super) fn done(state: &State, also_failed: Option<&StepId>) -> End {
    let mut reason = match pull_request(state) {
        Some((number, url)) => format!("All steps ended. Pull request #{number} is at {url}."),
        None => "All steps ended well.".to_owned(),
    };
    let failed = state.steps.iter().filter(|step| {
        matches!(step.phase, StepPhase::Failed { .. }) || also_failed == Some(&step.id)
    });
    let failed: Vec<&str> = failed.map(|step| step.id.as_str()).collect();
    if !failed.is_empty() {
        reason.push_str(&format!(" Failed and passed over as asked: {}.", failed.join(", ")));
    }
    End { outcome: Outcome::Succeeded, code: "done".into(), reason, give_up: None }
}

pub(super) fn no_change(reason: String) -> End {
    End { outcome: Outcome::Succeeded, code: "no_change".into(), reason, give_up: None }
}

pub(super) fn cancelled(cancel: &Cancel) -> End {
    let reason = match cancel.reason.trim() {
        "" => "Somebody asked it to stop.".to_owned(),
        reason => format!("Somebody asked it to stop: {reason}"),
    };
    End { outcome: Outcome::Cancelled, code: "cancelled".into(), reason, give_up: None }
}

pub(super) fn duration(state: &State) -> End {
    let seconds = state.spec.limits.duration.as_micros() / 1_000_000;
    failed(
        "duration",
        format!(
            "It reached its time limit of {seconds} s, waiting included. Give it a smaller task or \
             a higher limit."
        ),
    )
}

pub(super) fn tokens(state: &State, limit: u64) -> End {
    let used = state.tokens;
    failed(
        "tokens",
        format!("It used {used} of {limit} tokens. Give it a smaller task or a higher limit."),
    )
}

pub(super) fn lease_lost(state: &State, why: &str) -> End {
    let requeues = state.requeues;
    failed(
        "lease_lost",
        format!(
            "{why}, after it had been queued again {requeues} times. Look at the logs of the \
             runners."
        ),
    )
}

/// The first text that isn't blank.
pub(super) fn or_else(text: &str, otherwise: &str) -> String {
    if text.trim().is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

fn failed(code: &str, reason: String) -> End {
    End { outcome: Outcome::Failed, code: code.to_owned(), reason, give_up: None }
}

/// The number and address of the pull request that the job opened or updated last.
pub(super) fn pull_request(state: &State) -> Option<(u64, &str)> {
    state.effects.iter().rev().find_map(|effect| match &effect.state {
        effect::State::Done(effect::Outcome::PullRequest { number, url }) => {
            Some((*number, url.as_str()))
        }
        _ => None,
    })
}
