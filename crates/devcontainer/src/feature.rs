//! Features: how they are named, what they say of themselves, which variables their options become, in
//! which order they are installed, and the lock file. Fetching and running them is others' work.

pub mod lock;
pub mod manifest;
pub mod order;
mod reference;

use indexmap::IndexMap;
use serde::Serialize;

use crate::{
    place::Findings,
    read,
    tree::{Node, Value},
};

pub use manifest::Manifest;
pub use order::{Fetched, Planned};
pub use reference::{OciReference, Reference, ReferenceError};

/// The options that a project gives to a Feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Options {
    /// `true` or `false`: the defaults. (The reference tool installs it in both cases.)
    Default(bool),
    /// The value of the option `version`.
    Version(String),
    /// Values by option.
    Values(IndexMap<String, OptionValue>),
}

/// A value of an option.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum OptionValue {
    /// Yes or no.
    Truth(bool),
    /// Anything else; numbers become text.
    Text(String),
}

impl std::fmt::Display for OptionValue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truth(truth) => write!(formatter, "{truth}"),
            Self::Text(text) => formatter.write_str(text),
        }
    }
}

impl Options {
    /// Reads the value at a Feature's reference.
    pub(crate) fn read(node: &Node, name: &str, findings: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Bool(truth) => Some(Self::Default(*truth)),
            Value::Text(version) => Some(Self::Version(version.clone())),
            Value::Object(_) => {
                read::map(node, name, findings, OptionValue::read).map(Self::Values)
            }
            Value::Null | Value::Number(_) | Value::List(_) => {
                let wanted = "an object of options, a version as a string, or true";
                read::wrong_type(node, name, wanted, findings);
                None
            }
        }
    }
}

impl OptionValue {
    pub(crate) fn read(node: &Node, name: &str, findings: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Bool(truth) => Some(Self::Truth(*truth)),
            Value::Text(text) => Some(Self::Text(text.clone())),
            Value::Number(number) => {
                findings.warn(&node.place, format!("`{name}` is a number: write \"{number}\""));
                Some(Self::Text(number.to_string()))
            }
            Value::Null | Value::List(_) | Value::Object(_) => {
                read::wrong_type(node, name, "a string, true or false", findings);
                None
            }
        }
    }
}
