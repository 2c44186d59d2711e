//! What the runner that holds the lease says.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    EffectKey, StepId, Time, effect,
    job::{
        Cause, End, Event, GiveUp, Outcome, Refusal, Report, State, StepPhase, StepResult,
        decide::{held, illegal},
        decision, end,
        settle::{self, Walk},
    },
    spec::ErrorClass,
};

/// A time that does not come: a job that rests until somebody decides.
const NEVER: Time = Time::from_micros(253_402_300_799_000_000);

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
        Report::StepStarted { step_id } => step_started(state, step_id, now)?,
        Report::StepEnded { step_id, result } => step_ended(state, step_id, result, now)?,
        Report::EffectStaged { step_id, key, request } => staged(state, step_id, key, request)?,
        Report::Tokens { total } if *total > state.tokens => {
            vec![Event::TokensUsed { total: *total }]
        }
        Report::Tokens { .. } => vec![],
        Report::Started(start) => vec![Event::Started(start.cut())],
        Report::Settle => vec![],
        Report::Rested { step_id } => rested(state, step_id)?,
        Report::Decided { step_id } => decision::heard(state, index_of(state, step_id)?)?,
        Report::Rest => rest(state, now)?,
        Report::Ended(end) => ended(state, end)?,
    });
    let moves = matches!(
        report,
        Report::StepEnded { .. } | Report::Settle | Report::Rested { .. } | Report::Decided { .. }
    );
    if moves {
        let mut after = state.clone();
        events.iter().for_each(|event| after.apply(event, now));
        events.extend(settle::settle(after, now));
    }
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

fn step_started(state: &State, step_id: &StepId, now: Time) -> Result<Vec<Event>, Refusal> {
    let index = index_of(state, step_id)?;
    match state.steps[index].phase {
        StepPhase::Pending | StepPhase::Backoff { .. } => {}
        StepPhase::Running { .. } => {
            return Err(illegal(format!("step `{step_id}` is running already")));
        }
        _ => return Err(illegal(format!("step `{step_id}` is over"))),
    }
    if !state.definition(index).action.is_executed() {
        return Err(illegal(format!("step `{step_id}` is not for a runner to start")));
    }
    let Ok(going) = Walk::through(state, now) else {
        return Err(illegal(format!("something comes before step `{step_id}`")));
    };
    let mut open = going.start.iter().chain(going.backoff.iter().map(|(_, index)| index));
    if !open.clone().any(|open| *open == index) {
        let rests = going.rests.iter().map(|(_, index)| index);
        let mut earlier = open.by_ref().chain(&going.running).chain(rests).chain(&going.asked);
        let earlier = earlier.next().map_or("another", |earlier| state.steps[*earlier].id.as_str());
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
        StepResult::Succeeded { checkpoint, outputs } => {
            succeeded(state, index, checkpoint.as_ref(), outputs, now)
        }
        StepResult::Failed { code, reason } => {
            Ok(failed(state, index, Cause { code: code.clone(), give_up: None }, reason, now))
        }
        StepResult::GaveUp(give_up) => {
            let code = "agent_gave_up".to_owned();
            let cause = Cause { code, give_up: Some(give_up.clone()) };
            Ok(failed(state, index, cause, &gave_up(give_up), now))
        }
        StepResult::NothingToDo { reason } => {
            let reason = end::or_else(reason, "There was nothing to change.");
            let mut events = vec![Event::succeeded(step_id.clone())];
            if !state.is_after_the_verdict(index) && state.verdict.is_none() {
                events.push(Event::VerdictMade { end: end::no_change(reason) });
            }
            Ok(events)
        }
    }
}

fn succeeded(
    state: &State,
    index: usize,
    checkpoint: Option<&String>,
    outputs: &BTreeMap<String, Value>,
    now: Time,
) -> Result<Vec<Event>, Refusal> {
    let step_id = &state.steps[index].id;
    let open = state.effects.iter().find(|effect| {
        effect.step_id == *step_id && !matches!(effect.state, effect::State::Done(_))
    });
    if let Some(open) = open {
        return Err(illegal(format!("step `{step_id}` wants {}, which isn't done", open.key)));
    }
    if let Err(reason) = takes(state, index, outputs) {
        let cause = Cause { code: "output".to_owned(), give_up: None };
        return Ok(failed(state, index, cause, &reason, now));
    }
    let (checkpoint, outputs) = (checkpoint.cloned(), outputs.clone());
    Ok(vec![Event::StepSucceeded { step_id: step_id.clone(), checkpoint, outputs }])
}

/// Whether what a step gives is what it was asked for.
fn takes(state: &State, index: usize, outputs: &BTreeMap<String, Value>) -> Result<(), String> {
    let wanted = &state.definition(index).outputs;
    if let Some(name) = outputs.keys().find(|name| !wanted.contains_key(*name)) {
        return Err(format!("It gave an output `{name}`, which nobody asked for."));
    }
    for (name, output) in wanted {
        let Some(value) = outputs.get(name) else {
            return Err(format!("It gave no output `{name}`."));
        };
        output.check(value).map_err(|why| format!("Output `{name}` {why}."))?;
    }
    let bytes = settle::size(outputs.values());
    if bytes > settle::LARGEST {
        return Err(format!(
            "Its outputs have {bytes} bytes, and at most {} are taken: give what later steps need, and \
             leave the rest in a file.",
            settle::LARGEST
        ));
    }
    if state.kept_bytes + bytes > settle::LARGEST_OF_ALL {
        return Err(format!(
            "A job holds at most {} bytes of values: give shorter ones.",
            settle::LARGEST_OF_ALL
        ));
    }
    Ok(())
}

fn failed(state: &State, index: usize, cause: Cause, reason: &str, now: Time) -> Vec<Event> {
    let (step, retry) = (&state.steps[index], &state.definition(index).retry);
    let step_id = step.id.clone();
    let reason = end::or_else(reason, "It did not say why.");
    let class = match cause.give_up {
        Some(_) => ErrorClass::Agent,
        None => ErrorClass::of(&cause.code),
    };
    let repeated = match retry.on.is_empty() {
        true => cause.give_up.is_none() && class != ErrorClass::Template,
        false => retry.on.contains(&class),
    };
    if repeated && step.failures + 1 < retry.attempts {
        let doublings = i64::from(step.failures).min(40);
        let pause = retry.backoff.times_capped(1 << doublings, retry.backoff_cap);
        return vec![Event::StepRetried { step_id, until: now + pause, reason }];
    }
    vec![Event::StepFailed { step_id, reason, cause: Some(cause) }]
}

fn gave_up(give_up: &GiveUp) -> String {
    let because = end::or_else(&give_up.stopped_because, "It did not say why.");
    let mut reason = format!("The agent gave up: {because}");
    if !give_up.would_unblock.trim().is_empty() {
        reason.push_str(&format!(" What would help: {}", give_up.would_unblock.trim()));
    }
    reason
}

/// A `wait` is over, or the pause between two rounds.
fn rested(state: &State, step_id: &StepId) -> Result<Vec<Event>, Refusal> {
    let index = index_of(state, step_id)?;
    let step = &state.steps[index];
    match (&step.phase, &step.container) {
        (StepPhase::Resting { .. }, _) => Ok(vec![Event::succeeded(step_id.clone())]),
        (StepPhase::Entered { .. }, Some(holds)) if holds.pause.is_some() => {
            Ok(settle::next_round(state, index, holds.rounds.len()))
        }
        _ => Err(illegal(format!("step `{step_id}` does not rest"))),
    }
}

/// The lease is given back until a rest is over, or until somebody decides.
fn rest(state: &State, now: Time) -> Result<Vec<Event>, Refusal> {
    if let Some(cancel) = &state.cancel {
        return Ok(end::end(state, end::cancelled(cancel)));
    }
    let Ok(going) = Walk::through(state, now) else {
        return Err(illegal("something follows by itself: this is no time to rest"));
    };
    let works = [&going.start, &going.running].into_iter().any(|steps| !steps.is_empty());
    if works || !going.backoff.is_empty() {
        return Err(illegal("a step is at work: this is no time to rest"));
    }
    let until = match going.decided.is_empty() {
        true => going.rests.iter().map(|(until, _)| *until).min().unwrap_or(NEVER),
        false => now,
    };
    Ok(vec![Event::Rests { until }])
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
