//! Automations: files that say when something runs, on what, within which limits, and its steps. A text
//! becomes an [`Automation`] once, with a place for everything that is wrong with it; what the words mean
//! is in `docs/automations.md`.
//!
//! ```text
//! Automation::read(file, text)    everything wrong is said at once, with line, column and a remedy
//! Automation::spec(...)           the job specs of a run: calls are worked out, steps are frozen
//! schema()                        JSON Schema for editors; says what the reader takes
//! ```

mod compile;
mod glob;
mod input;
mod read;
mod said;
mod schema;
mod target;
mod trigger;

use std::{collections::BTreeMap, fmt};

use indexmap::IndexMap;
use serde::Serialize;
use windlass_document::Refused;

pub use compile::{Calls, InvalidCall, Made};
pub use glob::Glob;
pub use input::{Input, InputKind, InvalidInput};
pub use schema::schema;
pub use target::{Search, Select, Targets};
pub use trigger::{CommentOn, Concurrency, On, Rate, Severity, Trigger, WhenBusy};

use crate::{Duration, Labels, expression::Expression, fleet, spec};

/// An automation, as its file says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Automation {
    /// Its name, unique within the organisation.
    pub name: Name,
    /// What it is for, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it may run at all. One that is not does not start by hand either.
    pub enabled: bool,
    /// What starts it, besides people who may.
    #[serde(rename = "on")]
    pub triggers: Vec<Trigger>,
    /// What it is given when it starts.
    pub inputs: IndexMap<String, Input>,
    /// On what it works.
    pub targets: Targets,
    /// In which order, and how far it goes by itself.
    pub rollout: fleet::Plan,
    /// Limits of each job.
    pub limits: spec::Limits,
    /// How many of its runs go on side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// The environment of its jobs.
    pub environment: Environment,
    /// The name of the policy that its jobs are under, beside the organisation's and the project's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What each job does.
    pub steps: Vec<spec::Step>,
    /// What is done once those have failed.
    pub on_failure: Vec<spec::Step>,
    /// What is done last.
    pub finally: Vec<spec::Step>,
    /// What it gives to those that call it.
    pub outputs: BTreeMap<String, Expression>,
}

/// The environment of an automation's jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// The class; absent: what the project says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// What a runner must have.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub runs_on: Labels,
    /// Hosts that it may reach.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<String>,
}

/// The name of an automation: a small letter, then small letters, digits or `-`; at most 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// Reads a name.
    ///
    /// # Errors
    /// What a name is.
    pub fn parse(text: &str) -> Result<Self, String> {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        let rest = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if first && rest && text.len() <= 64 {
            return Ok(Self(text.to_owned()));
        }
        Err("a small letter, then small letters, digits or `-`, at most 64 in all".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Automation {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn read(file: &str, text: &str) -> Result<Self, Refused> {
        read::read(file, text)
    }

    /// Whether it works on more than one target, or may.
    pub fn is_fleet(&self) -> bool {
        !self.targets.is_from_trigger()
    }
}

/// The longest time that a file may say: what is longer is a slip of the finger.
const LONGEST: Duration = Duration::from_secs(400 * 24 * 3600);
