//! What the runner that holds the lease says.

use crate::{
    EffectKey, StepId, Time, effect,
    job::{
        End, Event, GiveUp, Outcome, Refusal, Report, State, StepPhase, StepResult,
        decide::{held, illegal},
        end,
    },
};

/// The longest key of an effect, in bytes.
const LONGEST_KEY: usize = 512;

pub(super) fn report(
    state: &State,
    epoch: u64,
    seq: u64,
    report: &Report,
    now: Time,
) -> Result<Vec<Event>, Refusal> {
    // The answer to the last report of a job may have been lost, so this comes before the question
    // whether the lease still holds.
    let same_lease = epoch == state.epoch && !matches!(state.phase, super::Phase::Queued { .. });
    if same_lease && seq <= state.last_report {
        return Ok(vec![]);
    }
    held(state, epoch)?;
    if seq != state.last_report + 1 {
        return Err(Refusal::Gap { given: seq, last: state.last_report });
    }
    let mut events = vec![Event::Reported { seq }];
    events.extend(match report {
        Report::Base { commit } => base(state, commit)?,
        Report::StepStarted { step_id } => step_started(state, step_id)?,
        Report::StepEnded { step_id, result } => step_ended(state, step_id, result, now)?,
        Report::EffectStaged { step_id, key, request } => staged(state, step_id, key, request)?,
        Report::Tokens { total } if *total > state.tokens => {
            vec![Event::TokensUsed { total: *total }]
        }
        Report::Tokens { .. } => vec![],
        Report::Started(start) => vec![Event::Started(start.cut())],
        Report::Ended(end) => ended(state, end)?,
    });
    Ok(events)
}

fn base(state: &State, commit: &str) -> Result<Vec<Event>, Refusal> {
    match &state.base_commit {
        None if commit.is_empty() => Err(illegal("the commit to start from is empty")),
        None => Ok(vec![Event::BaseKnown { commit: commit.to_owned() }]),
        Some(known) if known == commit => Ok(vec![]),
        Some(known) => Err(illegal(format!("this job starts from {known}, not from {commit}"))),
    }
}

fn step_started(state: &State, step_id: &StepId) -> Result<Vec<Event>, Refusal> {
    let index = index_of(state, step_id)?;
    match state.steps[index].phase {
        StepPhase::Pending | StepPhase::Backoff { .. } => {}
        StepPhase::Running { .. } => {
            return Err(illegal(format!("step `{step_id}` is running already")));
        }
        StepPhase::Succeeded | StepPhase::Failed { .. } => {
            return Err(illegal(format!("step `{step_id}` is over")));
        }
    }
    if let Some(earlier) = (0..index).find(|i| !state.is_passed(*i)) {
        let earlier = &state.steps[earlier].id;
        return Err(illegal(format!("step `{earlier}` comes before `{step_id}`")));
    }
    let attempt = state.steps[index].attempts + 1;
    Ok(vec![Event::StepStarted { step_id: step_id.clone(), attempt }])
}

fn step_ended(
    state: &State,
    step_id: &StepId,
    result: &StepResult,
    now: Time,
) -> Result<Vec<Event>, Refusal> {
    let index = index_of(state, step_id)?;
    if !matches!(state.steps[index].phase, StepPhase::Running { .. }) {
        return Err(illegal(format!("step `{step_id}` is not running")));
    }
    match result {
        StepResult::Succeeded { checkpoint } => succeeded(state, index, checkpoint.as_ref()),
        StepResult::Failed { code, reason } => Ok(failed(state, index, code, reason, now)),
        StepResult::GaveUp(give_up) => Ok(gave_up(state, index, give_up)),
        StepResult::NothingToDo { reason } => {
            let mut events =
                vec![Event::StepSucceeded { step_id: step_id.clone(), checkpoint: None }];
            let reason = end::or_else(reason, "There was nothing to change.");
            events.extend(end::end_after(state, index, end::no_change(reason)));
            Ok(events)
        }
    }
}

fn succeeded(
    state: &State,
    index: usize,
    checkpoint: Option<&String>,
) -> Result<Vec<Event>, Refusal> {
    let step_id = &state.steps[index].id;
    let open = state.effects.iter().find(|effect| {
        effect.step_id == *step_id && !matches!(effect.state, effect::State::Done(_))
    });
    if let Some(open) = open {
        return Err(illegal(format!("step `{step_id}` wants {}, which isn't done", open.key)));
    }
    let checkpoint = checkpoint.cloned();
    let mut events = vec![Event::StepSucceeded { step_id: step_id.clone(), checkpoint }];
    if index + 1 == state.steps.len() {
        events.extend(end::end_after(state, index, end::done(state, None)));
    }
    Ok(events)
}

fn failed(state: &State, index: usize, code: &str, reason: &str, now: Time) -> Vec<Event> {
    let (step, spec) = (&state.steps[index], &state.spec.steps[index]);
    let step_id = step.id.clone();
    let reason = end::or_else(reason, "It did not say why.");
    let failures = step.failures + 1;
    if failures < spec.retry.attempts {
        let doublings = i64::from(step.failures).min(40);
        let pause = spec.retry.backoff.times_capped(1 << doublings, spec.retry.backoff_cap);
        return vec![Event::StepRetried { step_id, until: now + pause, reason }];
    }
    let mut events = vec![Event::StepFailed { step_id: step_id.clone(), reason: reason.clone() }];
    if !spec.continue_on_error {
        let why = match failures {
            1 => format!("Step `{step_id}` failed: {reason}"),
            _ => format!("Step `{step_id}` failed {failures} times, at last: {reason}"),
        };
        let end = End {
            outcome: Outcome::Failed,
            code: end::or_else(code, "step_failed"),
            reason: why,
            give_up: None,
        };
        events.extend(end::end_after(state, index, end));
    } else if index + 1 == state.steps.len() {
        events.extend(end::end_after(state, index, end::done(state, Some(&step_id))));
    }
    events
}

fn gave_up(state: &State, index: usize, give_up: &GiveUp) -> Vec<Event> {
    let step_id = state.steps[index].id.clone();
    let because = end::or_else(&give_up.stopped_because, "It did not say why.");
    let mut reason = format!("The agent gave up: {because}");
    if !give_up.would_unblock.trim().is_empty() {
        reason.push_str(&format!(" What would help: {}", give_up.would_unblock.trim()));
    }
    let end = End {
        outcome: Outcome::GaveUp,
        code: "agent_gave_up".into(),
        reason: reason.clone(),
        give_up: Some(give_up.clone()),
    };
    let mut events = vec![Event::StepFailed { step_id, reason }];
    events.extend(end::end_after(state, index, end));
    events
}

fn staged(
    state: &State,
    step_id: &StepId,
    key: &EffectKey,
    request: &effect::Request,
) -> Result<Vec<Event>, Refusal> {
    let index = index_of(state, step_id)?;
    if let Some(known) = state.effects.iter().find(|effect| effect.key == *key) {
        // A later attempt of the step wants the same again: it is the same effect.
        return match known.request == *request && known.step_id == *step_id {
            true => Ok(vec![]),
            false => Err(illegal(format!("the key {key} belongs to another effect"))),
        };
    }
    if !matches!(state.steps[index].phase, StepPhase::Running { .. }) {
        return Err(illegal(format!("step `{step_id}` is not running, so it can't want anything")));
    }
    if key.as_str().len() > LONGEST_KEY || key.as_str().chars().any(char::is_control) {
        return Err(illegal(format!(
            "an effect's key has at most {LONGEST_KEY} bytes and no control characters"
        )));
    }
    Ok(vec![Event::EffectStaged {
        key: key.clone(),
        step_id: step_id.clone(),
        request: request.clone(),
    }])
}

fn ended(state: &State, end: &End) -> Result<Vec<Event>, Refusal> {
    if end.code.trim().is_empty() || end.reason.trim().is_empty() {
        return Err(illegal("an end needs a code and a reason"));
    }
    match end.outcome {
        Outcome::Succeeded => Err(illegal("a job succeeds by its last step, not by saying so")),
        Outcome::Cancelled if state.cancel.is_none() => {
            Err(illegal("nobody asked this job to stop"))
        }
        Outcome::GaveUp | Outcome::Failed | Outcome::Cancelled | Outcome::Skipped => {
            Ok(end::end(state, end.clone()))
        }
    }
}

fn index_of(state: &State, step_id: &StepId) -> Result<usize, Refusal> {
    let found = state.steps.iter().position(|step| step.id == *step_id);
    found.ok_or_else(|| illegal(format!("this job has no step `{step_id}`")))
}
