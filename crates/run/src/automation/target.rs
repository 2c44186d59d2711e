//! On what an automation works.

use serde::Serialize;

use crate::{Duration, Labels};

/// Where the targets of a run come from. What several say is taken together, each repository once.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Targets {
    /// The project that the event is of.
    pub from_trigger: bool,
    /// Projects by name, or addresses of repositories at a forge, which become projects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// Projects with all of these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// What a search at a forge finds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// Lines of a file of the control repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Lines that a command prints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What is left out, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<super::glob::Glob>,
    /// The branch to begin from; absent: each project's default branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// What decides which of them become jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Select>,
    /// How many targets a run has at most; more refuse the start instead of being cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<u32>,
}

/// A search at a forge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Search {
    /// The forge.
    pub forge: String,
    /// The search, in the forge's own words.
    pub query: String,
}

/// A check that each candidate must pass to become a job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Select {
    /// A command, in a read-only environment of the candidate. It is selected if it exits with 0 and left
    /// out if with 1; anything else is a failure of the selection.
    pub run: String,
    /// How long it may take.
    pub timeout: Duration,
}

impl Targets {
    /// Whether a run has the one target that its event is of.
    pub fn is_from_trigger(&self) -> bool {
        let Self { from_trigger, repositories, labels, search, file, command, .. } = self;
        let is_listed = !repositories.is_empty()
            || labels.is_some()
            || search.is_some()
            || file.is_some()
            || command.is_some();
        *from_trigger || !is_listed
    }
}
