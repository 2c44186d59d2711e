//! From a file to what jobs do: calls are worked out, inputs are taken, and steps are frozen.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use super::{Automation, InvalidInput};
use crate::{
    Class,
    spec::{self, Action, DEEPEST, Given, InvalidSpec, Spec, Step, Target},
};

/// Finds an automation by its name, as it is now.
pub type Calls<'a> = &'a dyn Fn(&str) -> Option<Arc<Automation>>;

/// The steps of an automation with everything that they call.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    steps: Vec<Step>,
    on_failure: Vec<Step>,
    finally: Vec<Step>,
}

/// A call that can't be worked out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", chain.join(" → "))]
pub struct InvalidCall {
    /// The automations that call each other up to the one that can't be, by name.
    pub chain: Vec<String>,
    /// Why, and what to do.
    pub why: String,
}

impl Automation {
    /// Works out what its steps call.
    ///
    /// # Errors
    /// An automation that is not there, calls itself, or is given something that it can't take.
    pub fn made(&self, calls: Calls<'_>) -> Result<Made, InvalidCall> {
        let mut chain = vec![self.name.to_string()];
        let made = Made {
            steps: within(&self.steps, calls, &mut chain)?,
            on_failure: within(&self.on_failure, calls, &mut chain)?,
            finally: within(&self.finally, calls, &mut chain)?,
        };
        spec::check_lists(&made.steps, &made.on_failure, &made.finally, spec::Files::WorkedOut)
            .map_err(|InvalidSpec { place, why }| InvalidCall {
                chain,
                why: format!("{place}: {why}"),
            })?;
        Ok(made)
    }

    /// The names of the automations that it calls itself.
    pub fn called(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut ahead: Vec<&Step> =
            self.steps.iter().chain(&self.on_failure).chain(&self.finally).collect();
        while let Some(step) = ahead.pop() {
            ahead.extend(step.action.steps());
            if let Action::Block { call: Some(name), .. } = &step.action {
                names.push(name.clone());
            }
        }
        names
    }

    /// The values of its inputs: what is given, and the defaults of the rest.
    ///
    /// # Errors
    /// All inputs that are missing, not of their kind, or not known.
    pub fn take_inputs(
        &self,
        given: &Map<String, Value>,
    ) -> Result<Map<String, Value>, Vec<InvalidInput>> {
        let mut taken = Map::new();
        let mut invalid = Vec::new();
        let mut refuse = |name: &str, why: String| {
            invalid.push(InvalidInput { name: name.to_owned(), why });
        };
        for name in given.keys().filter(|name| !self.inputs.contains_key(*name)) {
            let names: Vec<&str> = self.inputs.keys().map(String::as_str).collect();
            let hint = windlass_document::read::nearest_hint(name, &names);
            refuse(name, format!("is not one of the automation's{hint}"));
        }
        for (name, input) in &self.inputs {
            match (given.get(name), &input.default) {
                (Some(value), _) => match input.take(value) {
                    Ok(value) => drop(taken.insert(name.clone(), value)),
                    Err(why) => refuse(name, why),
                },
                (None, Some(default)) => drop(taken.insert(name.clone(), default.clone())),
                (None, None) => refuse(name, "must be given: it has no default".to_owned()),
            }
        }
        if invalid.is_empty() { Ok(taken) } else { Err(invalid) }
    }

    /// The spec of a job on one target. `context` is what expressions can speak of: `inputs`, `event`,
    /// `target`, `run`, `automation`.
    ///
    /// # Errors
    /// What types can't say of a spec.
    pub fn spec(
        &self,
        made: &Made,
        target: Target,
        class: Option<Class>,
        context: Value,
    ) -> Result<Spec, InvalidSpec> {
        let spec = Spec {
            target,
            steps: made.steps.clone(),
            on_failure: made.on_failure.clone(),
            finally: made.finally.clone(),
            context,
            limits: self.limits,
            network: self.environment.network.clone(),
            runs_on: self.environment.runs_on.clone(),
            class,
            continues: None,
            plain_environment: false,
            sensitive: Vec::new(),
        };
        spec.check()?;
        Ok(spec)
    }
}

fn within(
    steps: &[Step],
    calls: Calls<'_>,
    chain: &mut Vec<String>,
) -> Result<Vec<Step>, InvalidCall> {
    steps.iter().map(|step| one(step, calls, chain)).collect()
}

fn one(step: &Step, calls: Calls<'_>, chain: &mut Vec<String>) -> Result<Step, InvalidCall> {
    let mut step = step.clone();
    match &mut step.action {
        Action::Block { call: Some(name), steps, inputs, outputs } => {
            let refuse = |chain: &[String], why: String| {
                let chain = chain.iter().cloned().chain([name.clone()]).collect();
                Err(InvalidCall { chain, why })
            };
            if chain.contains(name) {
                return refuse(chain, "it calls itself: end the circle".to_owned());
            }
            if chain.len() > DEEPEST {
                return refuse(chain, format!("calls stand in each other {DEEPEST} deep at most"));
            }
            let Some(called) = calls(name) else {
                return refuse(chain, "there is no automation of this name".to_owned());
            };
            if !called.on_failure.is_empty() || !called.finally.is_empty() {
                let why = "it has `on_failure` or `finally`, which are of a whole job: an automation that \
                           is called has `steps` only";
                return refuse(chain, why.to_owned());
            }
            match given(&called, inputs) {
                Ok(given) => *inputs = given,
                Err(why) => return refuse(chain, why),
            }
            outputs.clone_from(&called.outputs);
            chain.push(name.clone());
            *steps = within(&called.steps, calls, chain)?;
            chain.pop();
        }
        Action::Block { call: None, steps, .. }
        | Action::Parallel { steps, .. }
        | Action::ForEach { steps, .. }
        | Action::Until { steps, .. } => *steps = within(steps, calls, chain)?,
        _ => {}
    }
    Ok(step)
}

/// The inputs of a call, with the defaults. What stands there as it is must be of its kind; what a
/// template gives is seen when the call is due.
fn given(
    called: &Automation,
    inputs: &BTreeMap<String, Given>,
) -> Result<BTreeMap<String, Given>, String> {
    let mut given = BTreeMap::new();
    for (name, value) in inputs {
        let Some(input) = called.inputs.get(name) else {
            let names: Vec<&str> = called.inputs.keys().map(String::as_str).collect();
            let hint = windlass_document::read::nearest_hint(name, &names);
            return Err(format!("it has no input `{name}`{hint}"));
        };
        let plain = match value {
            Given::Value(value) => Some(value.clone()),
            Given::Text(crate::template::Text::Plain(text)) => Some(Value::String(text.clone())),
            Given::Text(_) => None,
        };
        if let Some(plain) = plain {
            input.take(&plain).map_err(|why| format!("the input `{name}` {why}"))?;
        }
        given.insert(name.clone(), value.clone());
    }
    for (name, input) in &called.inputs {
        match (given.contains_key(name), &input.default) {
            (true, _) => {}
            (false, Some(default)) => {
                given.insert(name.clone(), Given::Value(default.clone()));
            }
            (false, None) => {
                return Err(format!("its input `{name}` has no default: say what it is in `with`"));
            }
        }
    }
    Ok(given)
}
