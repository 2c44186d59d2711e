//! A step's texts with the values in them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    expression::{NoValue, Path, Scope},
    job::{State, scope::scope},
    spec::{Action, AgentAction, ApproveAction, EndAction, Given, PullRequestAction, ReportAction},
    template::Text,
};

/// What an instance of a step is to do, with all its texts worked out.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// What to do. Its texts are plain.
    pub action: Action,
    /// Variables that its commands refer to: names and values. They belong into the environment of the
    /// step's processes and never into an argument.
    pub variables: Vec<(String, String)>,
}

/// What an instance of a step is to do now.
///
/// # Errors
/// The first expression that has no value.
pub fn rendered(state: &State, index: usize) -> Result<Rendered, NoValue> {
    let action = &state.definition(index).action;
    if is_plain(action) {
        return Ok(Rendered { action: action.clone(), variables: Vec::new() });
    }
    let reads = reads(action);
    let scope = scope(state, state.around(index), &reads);
    let mut variables = Vec::new();
    let action = match action {
        Action::Run { command } => Action::Run { command: shell(command, &scope, &mut variables)? },
        Action::Agent(agent) => {
            let verify = agent.verify.iter();
            let verify = verify.map(|command| shell(command, &scope, &mut variables));
            let verify = verify.collect::<Result<_, _>>()?;
            let prompt = text(&agent.prompt, &scope)?;
            Action::Agent(AgentAction { prompt, verify, ..agent.clone() })
        }
        Action::PullRequest(pull_request) => Action::PullRequest(PullRequestAction {
            branch: pull_request.branch.as_ref().map(|t| line(t, &scope)).transpose()?,
            title: pull_request.title.as_ref().map(|t| line(t, &scope)).transpose()?,
            body: pull_request.body.as_ref().map(|t| text(t, &scope)).transpose()?,
            draft: pull_request.draft,
        }),
        Action::Report(report) => Action::Report(ReportAction {
            title: line(&report.title, &scope)?,
            body: report.body.as_ref().map(|t| text(t, &scope)).transpose()?,
            values: given(&report.values, &scope)?
                .into_iter()
                .map(|(name, value)| (name, Given::Value(value)))
                .collect(),
        }),
        Action::End(end) => {
            Action::End(EndAction { reason: text(&end.reason, &scope)?, outcome: end.outcome })
        }
        Action::Approve(approve) => Action::Approve(ApproveAction {
            prompt: text(&approve.prompt, &scope)?,
            ..approve.clone()
        }),
        other => other.clone(),
    };
    Ok(Rendered { action, variables })
}

/// Whether all of a step's expressions have a value.
pub(super) fn renders(state: &State, index: usize) -> Result<(), NoValue> {
    // Most steps hold none, and their texts may be long.
    if is_plain(&state.definition(index).action) {
        return Ok(());
    }
    rendered(state, index).map(drop)
}

/// The values of given things.
pub(super) fn given(
    given: &BTreeMap<String, Given>,
    scope: &Scope,
) -> Result<BTreeMap<String, Value>, NoValue> {
    let value = |given: &Given| match given {
        Given::Value(value) => Ok(value.clone()),
        Given::Text(Text::Plain(text)) => Ok(Value::String(text.clone())),
        Given::Text(Text::Template(template)) => template.value(scope),
    };
    given.iter().map(|(name, given)| Ok((name.clone(), value(given)?))).collect()
}

/// What the texts of given things read.
pub(super) fn given_reads(given: &BTreeMap<String, Given>) -> Vec<Path> {
    let texts = given.values().filter_map(|given| match given {
        Given::Text(text) => Some(text),
        Given::Value(_) => None,
    });
    texts.flat_map(paths).collect()
}

fn shell(
    command: &Text,
    scope: &Scope,
    variables: &mut Vec<(String, String)>,
) -> Result<Text, NoValue> {
    let command = command.command(scope, variables.len())?;
    variables.extend(command.variables);
    Ok(Text::Plain(command.text))
}

fn text(text: &Text, scope: &Scope) -> Result<Text, NoValue> {
    text.text(scope).map(Text::Plain)
}

/// A text of one line: a value may hold more of them.
fn line(text: &Text, scope: &Scope) -> Result<Text, NoValue> {
    let one = text.text(scope)?;
    let words = one.split(|c: char| c.is_control()).map(str::trim);
    let words: Vec<&str> = words.filter(|part| !part.is_empty()).collect();
    Ok(Text::Plain(words.join(" ")))
}

fn paths(text: &Text) -> Vec<Path> {
    text.reads().into_iter().map(|(_, path)| path).collect()
}

fn texts(action: &Action) -> Vec<&Text> {
    match action {
        Action::Run { command } => vec![command],
        Action::Agent(agent) => std::iter::once(&agent.prompt).chain(&agent.verify).collect(),
        Action::PullRequest(PullRequestAction { branch, title, body, .. }) => {
            [branch, title, body].into_iter().flatten().collect()
        }
        Action::Report(report) => std::iter::once(&report.title).chain(&report.body).collect(),
        Action::End(end) => vec![&end.reason],
        Action::Approve(approve) => vec![&approve.prompt],
        _ => Vec::new(),
    }
}

fn reads(action: &Action) -> Vec<Path> {
    let mut reads: Vec<Path> = texts(action).into_iter().flat_map(paths).collect();
    if let Action::Report(report) = action {
        reads.extend(given_reads(&report.values));
    }
    reads
}

fn is_plain(action: &Action) -> bool {
    let plain = |text: &&Text| matches!(text, Text::Plain(_));
    texts(action).iter().all(plain) && !matches!(action, Action::Report(_))
}
