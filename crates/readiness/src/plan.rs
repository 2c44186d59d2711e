//! What is to be tried: units of a repository, each with the tools it wants and the commands that set
//! it up, build it and test it. Each command says why it is there and which file says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{detect, hints, report::Need, tree::Tree};

/// How many units are tried at most.
const MOST_UNITS: usize = 3;

/// What is to be tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The units, those nearest to the root first.
    pub units: Vec<Unit>,
    /// Services that the repository seems to want, with the place that says so.
    pub services: Vec<Need>,
    /// Secrets that the repository seems to want, with the place that says so.
    pub secrets: Vec<Need>,
}

/// One part of a repository that is built and tested by one ecosystem's tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The ecosystem, such as `rust`.
    pub ecosystem: &'static str,
    /// The folder; empty for the root.
    pub folder: String,
    /// The file that tells.
    pub place: String,
    /// The tools that its commands need or that it names.
    pub tools: Vec<Tool>,
    /// Ways to fetch what it depends on; tried in order until one works. Empty: nothing to fetch.
    pub install: Vec<Command>,
    /// Ways to build it. Empty: the tests build, or nothing is built.
    pub build: Vec<Command>,
    /// Ways to test it; tried in order until tests start.
    pub test: Vec<Command>,
}

/// A tool that a unit wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// The program.
    pub name: String,
    /// Which version is wanted, as written, and the file that says so.
    pub wanted: Option<(String, String)>,
}

/// A shell command to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The command.
    pub line: String,
    /// Why, in a few words.
    pub reason: String,
    /// The file that says so.
    pub place: String,
    /// Programs without which it is not tried.
    pub needs: Vec<String>,
}

/// What a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Which tools there are.
    Probe,
    /// Fetch what it depends on.
    Install,
    /// Fetch something that an output says is missing.
    Repair,
    /// Build.
    Build,
    /// Test.
    Test,
    /// Test once more, to see whether the result is steady.
    Again,
}

impl Phase {
    /// The word for a person.
    pub fn word(self) -> &'static str {
        match self {
            Self::Probe => "tools",
            Self::Install => "install",
            Self::Repair => "add what was missing",
            Self::Build => "build",
            Self::Test => "test",
            Self::Again => "test again",
        }
    }
}

impl Plan {
    /// Reads a repository.
    pub fn of(tree: &Tree) -> Self {
        let mut units = detect::units(tree);
        for unit in &mut units {
            hints::add_tests(tree, unit);
        }
        if units.is_empty() {
            units.extend(hints::unit(tree));
        }
        units.truncate(MOST_UNITS);
        Self { units, services: hints::services(tree), secrets: hints::secrets(tree) }
    }
}

impl Command {
    /// A command; its first word is the program that it needs.
    pub fn new(line: impl Into<String>, reason: impl Into<String>, place: &str) -> Self {
        let line = line.into();
        let program = line.split_whitespace().next().unwrap_or_default();
        let needs = match program.contains('/') || program.contains('=') {
            true => Vec::new(),
            false => vec![program.to_owned()],
        };
        Self { line, reason: reason.into(), place: place.to_owned(), needs }
    }

    /// The same, needing these programs instead.
    pub fn needing(mut self, programs: &[&str]) -> Self {
        self.needs = programs.iter().map(|program| (*program).to_owned()).collect();
        self
    }
}

impl Tool {
    /// A tool of any version.
    pub fn any(name: &str) -> Self {
        Self { name: name.to_owned(), wanted: None }
    }

    /// A tool of a version that a file names.
    pub fn of(name: &str, version: &str, place: &str) -> Self {
        Self { name: name.to_owned(), wanted: Some((version.trim().to_owned(), place.to_owned())) }
    }
}
