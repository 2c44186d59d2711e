//! Runners: who takes jobs, and how their machines are.

use askama::Template;

use super::{Moment, Shell, State, Text, home::FormProblem, people::Fresh, shell::Id};

/// The list of runners.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "runners.html")]
pub(crate) struct Runners {
    pub(crate) shell: Shell,
    pub(crate) rows: Vec<RunnerRow>,
    /// How many jobs wait for a runner.
    pub(crate) n_queued: u64,
    /// True if this person may let one join, tell it what to do, and remove it.
    pub(crate) may_manage: bool,
    /// A command with a code in it that was just made.
    pub(crate) fresh: Option<Fresh>,
    pub(crate) problem: Option<FormProblem>,
}

impl Runners {
    /// True if at least one runner was heard of lately.
    pub(crate) fn has_living(&self) -> bool {
        self.rows.iter().any(|row| row.is_alive)
    }
}

/// A runner.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunnerRow {
    pub(crate) id: Id,
    pub(crate) name: Text,
    pub(crate) version: Text,
    pub(crate) labels: Vec<Text>,
    pub(crate) is_alive: bool,
    /// What it was told, where that is not to work.
    pub(crate) told: Option<&'static str>,
    pub(crate) seen: Moment,
    /// Jobs it holds, and how many it may.
    pub(crate) jobs: Vec<String>,
    pub(crate) capacity: u32,
    /// How many environments it keeps that live by themselves.
    pub(crate) kept: u64,
    /// How its machine is: a name and a value each.
    pub(crate) health: Vec<(&'static str, String)>,
    /// What somebody should look at.
    pub(crate) problems: Vec<Text>,
}

impl RunnerRow {
    /// One cell for each job that it may hold: true where it holds one. Many are not drawn.
    pub(crate) fn cells(&self) -> Vec<bool> {
        let capacity = usize::try_from(self.capacity).unwrap_or(usize::MAX).min(64);
        (0..capacity.max(self.jobs.len())).map(|i| i < self.jobs.len()).collect()
    }

    /// Its state.
    pub(crate) fn state(&self) -> State {
        match (self.is_alive, self.told) {
            (true, None) => State::Succeeded,
            (true, Some(_)) => State::Waiting,
            (false, _) => State::Failed,
        }
    }
}
