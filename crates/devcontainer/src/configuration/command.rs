//! Lifecycle commands in their three forms.

use indexmap::IndexMap;
use serde::Serialize;

use crate::{
    place::Findings,
    read,
    tree::{Node, Value},
};

/// The points in a container's life at which commands run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Hook {
    /// On the host, before anything else.
    #[serde(rename = "initializeCommand")]
    Initialize,
    /// Once, after the first start.
    #[serde(rename = "onCreateCommand")]
    OnCreate,
    /// After the first start, and again when new content arrived.
    #[serde(rename = "updateContentCommand")]
    UpdateContent,
    /// Once, after the container was given to a user.
    #[serde(rename = "postCreateCommand")]
    PostCreate,
    /// At every start.
    #[serde(rename = "postStartCommand")]
    PostStart,
    /// Each time that a tool attaches.
    #[serde(rename = "postAttachCommand")]
    PostAttach,
}

impl Hook {
    /// The hooks that run inside, in their order.
    pub const INSIDE: [Self; 5] =
        [Self::OnCreate, Self::UpdateContent, Self::PostCreate, Self::PostStart, Self::PostAttach];

    /// The property that holds its command.
    pub const fn property(self) -> &'static str {
        match self {
            Self::Initialize => "initializeCommand",
            Self::OnCreate => "onCreateCommand",
            Self::UpdateContent => "updateContentCommand",
            Self::PostCreate => "postCreateCommand",
            Self::PostStart => "postStartCommand",
            Self::PostAttach => "postAttachCommand",
        }
    }

    /// The property of the merged configuration that holds all its commands.
    pub const fn merged_property(self) -> &'static str {
        match self {
            Self::Initialize => "initializeCommand",
            Self::OnCreate => "onCreateCommands",
            Self::UpdateContent => "updateContentCommands",
            Self::PostCreate => "postCreateCommands",
            Self::PostStart => "postStartCommands",
            Self::PostAttach => "postAttachCommands",
        }
    }

    /// All of them with their names, for reading.
    pub(crate) const WORDS: [(&'static str, Self); 6] = [
        ("initializeCommand", Self::Initialize),
        ("onCreateCommand", Self::OnCreate),
        ("updateContentCommand", Self::UpdateContent),
        ("postCreateCommand", Self::PostCreate),
        ("postStartCommand", Self::PostStart),
        ("postAttachCommand", Self::PostAttach),
    ];
}

/// One command without names: for a shell, or a program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Single {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments, no shell. Never empty.
    Exec(Vec<String>),
}

/// A lifecycle command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Command {
    /// One command.
    Single(Single),
    /// Named commands that run at once; all must succeed.
    Parallel(IndexMap<String, Single>),
}

/// Reads a command; an empty one is none.
pub(crate) fn read(node: &Node, name: &str, findings: &mut Findings) -> Option<Command> {
    match &node.value {
        Value::Object(members) if members.is_empty() => None,
        Value::Object(_) => {
            let commands = read::map(node, name, findings, read_single)?;
            (!commands.is_empty()).then_some(Command::Parallel(commands))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
            read_single(node, name, findings).map(Command::Single)
        }
    }
}

fn read_single(node: &Node, name: &str, findings: &mut Findings) -> Option<Single> {
    match &node.value {
        Value::Text(line) => (!line.is_empty()).then(|| Single::Shell(line.clone())),
        Value::List(parts) if parts.is_empty() => {
            findings.warn(&node.place, format!("`{name}` is an empty list and runs nothing"));
            None
        }
        Value::List(_) => {
            let parts = read::texts(node, name, findings)?;
            if parts.first().is_some_and(String::is_empty) {
                findings.refuse(&node.place, format!("`{name}` names no program: name it first"));
                return None;
            }
            (!parts.is_empty()).then_some(Single::Exec(parts))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            let wanted =
                "a string (for a shell) or a list of strings (a program and its arguments)";
            read::wrong_type(node, name, wanted, findings);
            None
        }
    }
}
