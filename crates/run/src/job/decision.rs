//! Decisions on steps that ask: a person's, or the watchdog's when nobody decided in time. What follows
//! from one is the runner's to report, as with everything else of the steps.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    StepId, Time,
    actor::{Actor, By},
    job::{Cause, Decision, Event, Phase, Refusal, State, StepPhase, Verdict, decide::illegal},
    spec::{Action, OnTimeout},
};

/// How many characters of a note are kept.
const NOTE: usize = 4_000;

pub(super) fn decide(
    state: &State,
    step_id: &StepId,
    decision: &Decision,
    now: Time,
) -> Result<Vec<Event>, Refusal> {
    if matches!(state.phase, Phase::Ended(_)) {
        return Err(Refusal::Ended);
    }
    let Some(index) = state.index_of(step_id) else {
        return Err(illegal(format!("this job has no step `{step_id}`")));
    };
    let step = &state.steps[index];
    if !matches!(step.phase, StepPhase::Asked { .. }) {
        return Err(illegal(format!("step `{step_id}` asks for no decision")));
    }
    if step.decision.is_some() {
        return Err(illegal(format!("it was decided on step `{step_id}` already")));
    }
    let note = decision.note.chars().take(NOTE).collect();
    Ok(decided(state, step_id, Decision { note, ..decision.clone() }, now))
}

/// Steps that nobody decided on in time.
pub(super) fn overdue(state: &State, now: Time) -> Vec<Event> {
    for (index, step) in state.steps.iter().enumerate() {
        let StepPhase::Asked { until: Some(until), .. } = &step.phase else { continue };
        if step.decision.is_some() || *until > now {
            continue;
        }
        let verdict = match &state.definition(index).action {
            Action::Approve(approve) => match approve.on_timeout {
                OnTimeout::Fail => Verdict::TimedOut,
                OnTimeout::Approve => Verdict::Approved,
                OnTimeout::Decline => Verdict::Declined,
            },
            _ => Verdict::TimedOut,
        };
        let by = By::own(Actor::System("watchdog".to_owned()));
        let note = "Nobody decided in time.".to_owned();
        return decided(state, &step.id, Decision { verdict, by, note, at: now }, now);
    }
    vec![]
}

/// When the first of those that ask has waited long enough.
pub(super) fn overdue_at(state: &State) -> Option<Time> {
    let open = state.steps.iter().filter(|step| step.decision.is_none());
    let until = open.filter_map(|step| match step.phase {
        StepPhase::Asked { until, .. } => until,
        _ => None,
    });
    until.min()
}

/// What follows once the runner has heard of it.
pub(super) fn heard(state: &State, index: usize) -> Result<Vec<Event>, Refusal> {
    let step = &state.steps[index];
    let step_id = step.id.clone();
    let (StepPhase::Asked { .. }, Some(decision)) = (&step.phase, &step.decision) else {
        return Err(illegal(format!("nothing was decided on step `{step_id}`")));
    };
    let said = match decision.note.trim() {
        "" => String::new(),
        note => format!(": {note}"),
    };
    let (code, reason) = match decision.verdict {
        Verdict::Approved => {
            let outputs = BTreeMap::from([("note".to_owned(), json!(decision.note))]);
            return Ok(vec![Event::StepSucceeded { step_id, checkpoint: None, outputs }]);
        }
        Verdict::Declined => ("declined", format!("It was declined{said}.")),
        Verdict::TimedOut => ("approval_timeout", "Nobody decided in time.".to_owned()),
    };
    let reason = reason.replace("..", ".");
    let cause = Some(Cause { code: code.to_owned(), give_up: None });
    Ok(vec![Event::StepFailed { step_id, reason, cause }])
}

fn decided(state: &State, step_id: &StepId, decision: Decision, now: Time) -> Vec<Event> {
    let mut events = vec![Event::Decided { step_id: step_id.clone(), decision }];
    if matches!(state.phase, Phase::Queued { .. }) && state.resting_since.is_some() {
        events.push(Event::Requeued {
            reason: format!("It was decided on step `{step_id}`."),
            counted: false,
            not_before: now,
        });
    }
    events
}
