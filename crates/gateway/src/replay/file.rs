//! The session file: its types, reading it with errors that name the line, and what a turn expects
//! of a request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::prompt::Prompt;
pub use crate::model::Usage;

/// A session that can be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What it shows, one line for a person.
    pub about: String,
    /// True if its answers were written by a person; false if a real model gave them once.
    pub scripted: bool,
    /// The answers, in order.
    pub turns: Vec<Turn>,
}

/// The first line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    windlass_session: u32,
    about: String,
    scripted: bool,
}

/// One answer of the model, and when to give it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Turn {
    /// What errors call it; `turn N` when absent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// True if it stands outside the order.
    #[serde(skip_serializing_if = "is_false")]
    pub aside: bool,
    /// What the request must look like.
    #[serde(skip_serializing_if = "Expect::is_anything")]
    pub expect: Expect,
    /// The answer.
    pub reply: Reply,
}

/// What a request must look like. Everything that is stated must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Texts that the newest part of the request contains: what came after the model's last words,
    /// a task or the results of tools.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last: Vec<String>,
    /// Texts that the newest part does not contain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
    /// Texts that the conversation contains anywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub anywhere: Vec<String>,
    /// Texts that the system prompt contains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<String>,
    /// Tools that are offered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// A text that the model's name contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// What the model answers: words and tool calls, or an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reply {
    /// Reasoning that is shown before the answer, where the format has a place for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub thinking: String,
    /// What it says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The tools that it calls, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolUse>,
    /// The tokens that the answer claims to have used.
    pub usage: Usage,
    /// True if the answer stops at the limit of its length.
    #[serde(skip_serializing_if = "is_false")]
    pub truncated: bool,
    /// An error instead of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// One call of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolUse {
    /// The tool's name as the client offered it.
    pub name: String,
    /// Its input; a text for the free-form tools of the Responses API, else an object.
    pub input: Value,
}

/// An error of the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The HTTP status, from 400 to 599.
    pub status: u16,
    /// What it says.
    pub message: String,
    /// After how many seconds to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

/// Why a session file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the session file: {problem}")]
pub struct SessionError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to write instead.
    pub problem: String,
}

impl Session {
    /// Reads a session file and puts in the variables.
    pub fn parse(text: &str, variables: &BTreeMap<String, String>) -> Result<Self, SessionError> {
        let at = |line: usize| move |problem: String| SessionError { line: line + 1, problem };
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (line, first) = lines.next().ok_or_else(|| {
            at(0)("the file is empty; its first line must be like {\"windlass_session\":1,\"about\":\"...\",\"scripted\":true}".to_owned())
        })?;
        let header: Header = read(first, variables).map_err(at(line))?;
        if header.windlass_session != 1 {
            let problem = format!(
                "version {} of the format is not known here, only 1",
                header.windlass_session
            );
            return Err(at(line)(problem));
        }
        let mut turns: Vec<Turn> = Vec::new();
        for (line, text) in lines {
            let mut turn: Turn = read(text, variables).map_err(at(line))?;
            turn.check().map_err(at(line))?;
            if turn.name.is_empty() {
                turn.name = format!("turn {}", turns.len() + 1);
            }
            turns.push(turn);
        }
        Ok(Self { about: header.about, scripted: header.scripted, turns })
    }

    /// The index of the first turn from this one on that is not an aside.
    pub(super) fn after(&self, index: usize) -> usize {
        let rest = self.turns.get(index..).unwrap_or_default();
        index + rest.iter().position(|turn| !turn.aside).unwrap_or(rest.len())
    }

    pub(super) fn header_line(about: &str, scripted: bool) -> String {
        let header = Header { windlass_session: 1, about: about.to_owned(), scripted };
        serde_json::to_string(&header).unwrap_or_default()
    }
}

impl Turn {
    fn check(&self) -> Result<(), String> {
        if let Some(error) = &self.reply.error {
            if !(400..=599).contains(&error.status) {
                return Err(format!("an error has a status from 400 to 599, not {}", error.status));
            }
            if !self.reply.text.is_empty() || !self.reply.tools.is_empty() {
                return Err("a reply has an error or an answer, not both".to_owned());
            }
        } else if self.reply.text.is_empty() && self.reply.tools.is_empty() {
            return Err("a reply needs `text`, `tools` or `error`".to_owned());
        }
        let good = |input: &Value| input.is_object() || input.is_string();
        match self.reply.tools.iter().find(|tool| !good(&tool.input)) {
            Some(tool) => Err(format!(
                "the input of the tool `{}` is neither an object nor a text",
                tool.name
            )),
            None => Ok(()),
        }
    }
}

impl Expect {
    /// The first expectation that the request does not meet, to be read after "turn N".
    pub fn problem(&self, prompt: &Prompt) -> Option<String> {
        let lacking = |wanted: &[String], text: &str| {
            wanted.iter().find(|wanted| !text.contains(*wanted)).cloned()
        };
        if let Some(wanted) = lacking(&self.last, &prompt.last) {
            return Some(format!(
                "expected the newest part to contain {wanted:?}, but it is {:?}",
                clip(&prompt.last)
            ));
        }
        if let Some(unwanted) = self.absent.iter().find(|unwanted| prompt.last.contains(*unwanted))
        {
            return Some(format!("expected the newest part not to contain {unwanted:?}"));
        }
        if let Some(wanted) = lacking(&self.anywhere, &prompt.all) {
            return Some(format!("expected the conversation to contain {wanted:?}"));
        }
        if let Some(wanted) = lacking(&self.system, &prompt.system) {
            return Some(format!("expected the system prompt to contain {wanted:?}"));
        }
        if let Some(wanted) = self.tools.iter().find(|wanted| !prompt.offers(wanted)) {
            let offered: Vec<_> = prompt.tools.iter().map(|tool| tool.name.as_str()).collect();
            return Some(format!(
                "expected the tool `{wanted}` to be offered, but these are: {}",
                offered.join(", ")
            ));
        }
        match &self.model {
            Some(wanted) if !prompt.model.contains(wanted) => Some(format!(
                "expected a model with {wanted:?} in its name, but it is {:?}",
                prompt.model
            )),
            Some(_) | None => None,
        }
    }

    fn is_anything(&self) -> bool {
        *self == Self::default()
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn clip(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn read<T: for<'de> Deserialize<'de>>(
    line: &str,
    variables: &BTreeMap<String, String>,
) -> Result<T, String> {
    let mut value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    put_in(&mut value, variables)?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Puts variables into all texts of a value.
fn put_in(value: &mut Value, variables: &BTreeMap<String, String>) -> Result<(), String> {
    match value {
        Value::String(text) => {
            if text.contains("${{") {
                *text = substituted(text, variables)?;
            }
            Ok(())
        }
        Value::Array(values) => values.iter_mut().try_for_each(|value| put_in(value, variables)),
        Value::Object(fields) => fields.values_mut().try_for_each(|value| put_in(value, variables)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn substituted(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut output = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (name, after) = after.split_once("}}").ok_or("`${{` without `}}`")?;
        let name = name.trim();
        let value = variables.get(name).ok_or_else(|| {
            let known: Vec<_> = variables.keys().map(String::as_str).collect();
            format!("the variable `{name}` is not known; known are: {}", known.join(", "))
        })?;
        output.push_str(before);
        output.push_str(value);
        rest = after;
    }
    output.push_str(rest);
    Ok(output)
}
