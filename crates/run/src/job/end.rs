//! Ends: every one has an outcome, a stable code and a reason that a person can act on, and leaves
//! nothing open behind it.

use crate::{
    effect,
    job::{Cancel, End, Event, Outcome, State, StepPhase},
};

/// How many steps that failed are named.
const NAMED: usize = 10;

/// The events of an end: what runs or rests has failed, what was only staged will not happen.
/// Effects under way stay granted: their executor records them after the end too.
pub(super) fn end(state: &State, end: End) -> Vec<Event> {
    let mut events = Vec::with_capacity(1);
    for step in &state.steps {
        let closed = match step.phase {
            StepPhase::Pending
            | StepPhase::Succeeded
            | StepPhase::Failed { .. }
            | StepPhase::Skipped { .. } => true,
            StepPhase::Running { .. }
            | StepPhase::Backoff { .. }
            | StepPhase::Entered { .. }
            | StepPhase::Resting { .. }
            | StepPhase::Asked { .. } => false,
        };
        if !closed {
            let reason = format!("The job ended ({}) before this step did.", end.code);
            let step_id = step.id.clone();
            events.push(Event::StepFailed { step_id, reason, cause: None });
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

/// All steps are over.
pub(super) fn done(state: &State) -> End {
    let mut reason = match pull_request(state) {
        Some((number, url)) => format!("All steps ended. Pull request #{number} is at {url}."),
        None => "All steps ended well.".to_owned(),
    };
    let failed = state.steps.iter().filter(|step| matches!(step.phase, StepPhase::Failed { .. }));
    let failed: Vec<&str> = failed.map(|step| step.id.as_str()).collect();
    if !failed.is_empty() {
        let (shown, more) = failed.split_at(failed.len().min(NAMED));
        reason.push_str(&format!(" Failed and passed over as asked: {}", shown.join(", ")));
        match more.len() {
            0 => reason.push('.'),
            n => reason.push_str(&format!(" and {n} more.")),
        }
    }
    End { outcome: Outcome::Succeeded, code: "done".into(), reason, give_up: None }
}

/// A step has failed for good, and the job with it.
pub(super) fn of_step(state: &State, index: usize) -> End {
    let step = &state.steps[index];
    let StepPhase::Failed { reason: why } = &step.phase else {
        return failed("step_failed", format!("Step `{}` did not end well.", step.id));
    };
    let cause = step.failure.clone();
    let (code, give_up) = cause.map_or_else(Default::default, |cause| (cause.code, cause.give_up));
    let is_leaf = !state.definition(index).action.is_container();
    let reason = match (&give_up, is_leaf && step.failures > 1) {
        // The agent's own words say it all; and a container's reason names the step that failed in it.
        (Some(_), _) => why.clone(),
        _ if step.container.is_some() && code != "until" => why.clone(),
        (None, false) => format!("Step `{}` failed: {why}", step.id),
        (None, true) => {
            format!("Step `{}` failed {} times, at last: {why}", step.id, step.failures)
        }
    };
    let outcome = if give_up.is_some() { Outcome::GaveUp } else { Outcome::Failed };
    End { outcome, code: or_else(&code, "step_failed"), reason, give_up }
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
