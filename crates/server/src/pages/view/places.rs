//! Where work is done: projects.

use askama::Template;

use super::{
    Moment, Shell, Text,
    ahead::Ahead,
    home::FormProblem,
    runs::{ChangeRow, JobRow},
    shell::Id,
};

/// The list of projects, with the form to add one.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "projects.html")]
pub(crate) struct Projects {
    pub(crate) shell: Shell,
    pub(crate) rows: Vec<ProjectRow>,
    pub(crate) next: Option<String>,
    /// The form, if this person may add one.
    pub(crate) form: Option<ProjectForm>,
}

/// A project in a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProjectRow {
    pub(crate) name: Text,
    pub(crate) href: String,
    /// Where the repository is.
    pub(crate) source: Text,
    /// Who hosts its pull requests.
    pub(crate) forge: &'static str,
    pub(crate) branch: Option<Text>,
    pub(crate) refreshed: Option<Moment>,
    /// Things that a person should know.
    pub(crate) notes: Vec<Text>,
}

/// The form to add a project, as it was filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ProjectForm {
    pub(crate) source: Text,
    pub(crate) name: Text,
    pub(crate) branch: Text,
    pub(crate) problem: Option<FormProblem>,
}

/// The page of a project.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "project.html")]
pub(crate) struct Project {
    pub(crate) shell: Shell,
    pub(crate) row: ProjectRow,
    pub(crate) id: Id,
    pub(crate) clone_url: Text,
    pub(crate) created: Moment,
    pub(crate) changes: Vec<ChangeRow>,
    pub(crate) jobs: Vec<JobRow>,
    /// How ready it was found to be, newest first.
    pub(crate) readiness: Vec<ReadinessRow>,
    /// What is kept ahead of demand.
    pub(crate) ahead: Ahead,
    /// Where a task for it is begun, if this person may.
    pub(crate) start: Option<String>,
    /// Where its source is read again, if this person may.
    pub(crate) refresh: Option<String>,
}

/// How ready a project was found to be, once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReadinessRow {
    /// From 0 to 100.
    pub(crate) score: u32,
    /// The job that found it.
    pub(crate) href: String,
    pub(crate) at: Moment,
    /// What its tests came to, in a few words.
    pub(crate) tests: Text,
    /// What would raise the score most.
    pub(crate) raise: Vec<Text>,
}

impl Project {
    /// The scores over time as the points of a line, oldest first, in a picture of 120 by 24; empty for
    /// fewer than two.
    pub(crate) fn trend(&self) -> String {
        let n = self.readiness.len();
        if n < 2 {
            return String::new();
        }
        let oldest_first = self.readiness.iter().rev().enumerate();
        let point = |(i, row): (usize, &ReadinessRow)| {
            format!("{},{}", i * 120 / (n - 1), 24 - (row.score.min(100) * 24).div_ceil(100))
        };
        oldest_first.map(point).collect::<Vec<_>>().join(" ")
    }
}
