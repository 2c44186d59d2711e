//! What the expressions of a step can speak of: what the job was made with, what earlier steps gave, and
//! what the containers around bind.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{
    expression::{Path, Scope},
    job::{Place, State, StepPhase},
    spec::Action,
};

/// The scope of what stands in a container's round (or in one of the job's lists), as far as `reads` asks
/// for it: an output may be long, and there may be many.
pub(super) fn scope(state: &State, around: Option<(usize, usize)>, reads: &[Path]) -> Scope {
    let mut scope = Scope::default();
    if let Value::Object(context) = &state.spec.context {
        for (name, value) in context {
            if reads.iter().any(|path| path[0] == *name) {
                scope.set(name, value.clone());
            }
        }
    }
    if let Some(verdict) = &state.verdict {
        let outcome = json!(verdict.outcome);
        let told = json!({ "outcome": outcome, "code": verdict.code, "reason": verdict.reason });
        scope.set("verdict", told);
    }
    let (block, chain) = state.chain(around);
    if let Some(block) = block {
        let holds = state.steps[block].container.as_ref();
        scope.set("inputs", json!(holds.map(|holds| &holds.inputs)));
    }
    for (container, round) in &chain {
        scope.set("round", json!(round + 1));
        if let Action::ForEach { name, .. } = &state.definition(*container).action {
            let holds = state.steps[*container].container.as_ref();
            let item = holds.and_then(|holds| holds.items.get(*round));
            scope.set(name, item.cloned().unwrap_or_default());
        }
    }
    if let Some(steps) = steps(state, block, &chain, reads) {
        scope.set("steps", steps);
    }
    scope
}

/// `steps`, with those that are asked for; nothing if none is.
fn steps(
    state: &State,
    block: Option<usize>,
    chain: &[(usize, usize)],
    reads: &[Path],
) -> Option<Value> {
    let paths = reads.iter().filter(|path| path[0] == "steps");
    let asked: Vec<Option<&str>> = paths.map(|path| path.get(1).map(String::as_str)).collect();
    if asked.is_empty() {
        return None;
    }
    let named: BTreeSet<&str> = if asked.contains(&None) {
        // All of them, by a name that is only known when it is evaluated.
        state.spec.every_step().map(|(_, step)| step.id.as_str()).collect()
    } else {
        asked.into_iter().flatten().collect()
    };
    let mut steps = Map::new();
    for name in named {
        if let Some(step) = step(state, block, chain, name) {
            steps.insert(name.to_owned(), step);
        }
    }
    Some(Value::Object(steps))
}

/// What is known of the step with that name: of its instance that is nearest to the asker.
fn step(
    state: &State,
    block: Option<usize>,
    chain: &[(usize, usize)],
    name: &str,
) -> Option<Value> {
    let mut nearest: Option<(usize, usize)> = None;
    let mut all: Vec<usize> = Vec::new();
    let mut deeper = false;
    for index in instances(state, block, name) {
        let (_, rounds) = state.chain(state.around(index));
        let shared = rounds.iter().zip(chain).take_while(|(a, b)| a == b).count();
        // Later rounds have higher indices.
        if nearest.is_none_or(|(most, _)| shared >= most) {
            if nearest.is_none_or(|(most, _)| shared > most) {
                all.clear();
            }
            nearest = Some((shared, index));
            all.push(index);
            deeper = rounds.len() > shared;
        }
    }
    let Some((_, index)) = nearest else {
        let pending = state.spec.step(name).is_some();
        return pending
            .then(|| json!({ "outcome": "pending", "outputs": {}, "reason": "", "all": [] }));
    };
    let step = &state.steps[index];
    let (outcome, reason) = match &step.phase {
        StepPhase::Pending => ("pending", ""),
        StepPhase::Succeeded => ("succeeded", ""),
        StepPhase::Failed { reason } => ("failed", reason.as_str()),
        StepPhase::Skipped { reason } => ("skipped", reason.as_str()),
        _ => ("running", ""),
    };
    let mut told = json!({ "outcome": outcome, "outputs": step.outputs, "reason": reason });
    if deeper && let Some(told) = told.as_object_mut() {
        let outputs = all.iter().map(|index| json!(state.steps[*index].outputs)).collect();
        told.insert("all".to_owned(), Value::Array(outputs));
    }
    Some(told)
}

/// The instances of a block's (or the job's) step of that name.
fn instances<'a>(
    state: &'a State,
    block: Option<usize>,
    name: &'a str,
) -> impl Iterator<Item = usize> + 'a {
    let block = block.map(|block| state.steps[block].id.as_str());
    state.steps.iter().enumerate().filter_map(move |(index, step)| {
        let mut id = step.id.as_str();
        if let Some(block) = block {
            id = id.strip_prefix(block)?.strip_prefix('.')?;
            if !matches!(step.place, Place::Within { .. }) {
                return None;
            }
        }
        // What follows the name are rounds: a letter there would be a step of a block of that name.
        let rounds = id.strip_prefix(name)?;
        let is_round = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let fits = rounds.is_empty()
            || rounds.strip_prefix('.').is_some_and(|rounds| rounds.split('.').all(is_round));
        fits.then_some(index)
    })
}
