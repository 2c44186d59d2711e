//! What came of looking at a repository: data for pages, for the command line and for a pull request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{observe::Tests, plan::Phase, score::Score};

/// The version of [`Report`] that is written now. Fields are only ever added.
pub const VERSION: u32 = 1;

/// How ready a repository is, and how that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The commit that was looked at.
    pub commit: String,
    /// What was recognised.
    pub units: Vec<Recognised>,
    /// The tools that are wanted, and what the environment has.
    pub tools: Vec<ToolFound>,
    /// Every command that the platform ran, in its order.
    pub commands: Vec<CommandRun>,
    /// True if at least one test was run.
    pub tests_started: bool,
    /// The first run of tests that started, over all units.
    pub tests: Option<Tests>,
    /// Whether a second run came to the same.
    pub steady: Steady,
    /// What is missing, with what shows it.
    pub missing: Vec<Missing>,
    /// Services that the repository names.
    pub services: Vec<Need>,
    /// Secrets that the repository names. Only names: their values were not looked for.
    pub secrets: Vec<Need>,
    /// The score and its reasons.
    pub score: Score,
    /// Files that would make it better.
    pub proposed: Vec<ProposedFile>,
}

/// One part of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recognised {
    /// The ecosystem, such as `rust`.
    pub ecosystem: String,
    /// Its folder; empty for the root.
    pub folder: String,
    /// The file that tells.
    pub place: String,
}

/// A tool that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolFound {
    /// The program.
    pub name: String,
    /// Which version is wanted, as the repository writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// The file that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The version that the environment has, as the tool says it; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// False if it is missing or of a version that is not wanted.
    pub fits: bool,
}

/// A command that the platform ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandRun {
    /// What for.
    pub phase: Phase,
    /// The folder; empty for the root.
    pub folder: String,
    /// The command.
    pub line: String,
    /// Why this one.
    pub reason: String,
    /// The file that says so.
    pub place: String,
    /// Its exit code; absent if it did not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// How it ended, in a few words.
    pub ended: String,
    /// How long it took, in microseconds, by the runner's clock.
    pub took: i64,
    /// What its output says of tests, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Tests>,
}

/// Whether two runs of the same tests came to the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "steady", rename_all = "snake_case")]
pub enum Steady {
    /// No second run was made.
    #[default]
    Unknown,
    /// Both came to the same.
    Yes,
    /// They differ.
    No {
        /// The tests that failed in only one of them, as far as they are told.
        names: Vec<String>,
    },
}

/// Something that is missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Missing {
    /// What: `tool`, `library`, `module`, `service`, `variable`, `version` or `host`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The line that shows it.
    pub evidence: String,
    /// What to do.
    pub fix: String,
}

/// Something that a file says is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Need {
    /// Its name.
    pub name: String,
    /// How the file says so.
    pub evidence: String,
    /// The file.
    pub place: String,
}

/// A file to add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProposedFile {
    /// Where.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Report {
    /// The report for the body of a pull request.
    pub fn markdown(&self) -> String {
        crate::markdown::of(self)
    }

    /// How long the first test command took until it ended, in microseconds.
    pub fn test_time(&self) -> Option<i64> {
        let ran = self.commands.iter().find(|ran| {
            ran.phase == Phase::Test && ran.tests.as_ref().is_some_and(Tests::have_started)
        });
        ran.map(|ran| ran.took)
    }
}
