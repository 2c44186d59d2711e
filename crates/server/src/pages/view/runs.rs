//! Lists of runs, of changes and of what a search found, and the page of a run with several jobs.

use askama::Template;

use super::{
    Moment, Shell, State, Text,
    shell::{Choice, Id, Who},
};

/// The list of runs.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "runs.html")]
pub(crate) struct Runs {
    pub(crate) shell: Shell,
    /// Which runs are shown, as links.
    pub(crate) filters: Vec<Choice>,
    pub(crate) rows: Rows,
}

/// Rows of runs: also shown on their own, to be appended.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "parts/run_rows.html")]
pub(crate) struct Rows {
    pub(crate) rows: Vec<RunRow>,
    /// The page that goes on.
    pub(crate) next: Option<String>,
}

impl askama::filters::HtmlSafe for Rows {}

/// A run in a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunRow {
    pub(crate) href: String,
    pub(crate) title: Text,
    pub(crate) state: State,
    pub(crate) by: Who,
    pub(crate) created: Moment,
    /// How long it took or has taken.
    pub(crate) took: String,
}

/// The page of a run that has several jobs or none yet.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "run.html")]
pub(crate) struct Run {
    pub(crate) shell: Shell,
    pub(crate) id: Id,
    pub(crate) title: Text,
    pub(crate) state: State,
    pub(crate) by: Who,
    pub(crate) created: Moment,
    /// Where it is stopped, if it may be.
    pub(crate) cancel: Option<String>,
    pub(crate) jobs: Vec<JobRow>,
}

/// A job in a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JobRow {
    pub(crate) href: String,
    pub(crate) title: Text,
    pub(crate) project: Text,
    pub(crate) state: State,
    pub(crate) reason: Option<Text>,
    pub(crate) change: Option<(u64, String)>,
    pub(crate) took: String,
}

/// The list of changes to review.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "review.html")]
pub(crate) struct Review {
    pub(crate) shell: Shell,
    pub(crate) filters: Vec<Choice>,
    pub(crate) rows: ChangeRows,
}

/// Rows of changes: also shown on their own, to be appended.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "parts/change_rows.html")]
pub(crate) struct ChangeRows {
    pub(crate) rows: Vec<ChangeRow>,
    pub(crate) next: Option<String>,
}

impl askama::filters::HtmlSafe for ChangeRows {}

/// A change in a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChangeRow {
    pub(crate) href: String,
    pub(crate) title: Text,
    pub(crate) project: Text,
    pub(crate) number: u64,
    pub(crate) state: State,
    /// The newest word of a reviewer, where there is one.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) by: Who,
    pub(crate) updated: Moment,
}

/// A reviewer's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Approved,
    ChangesRequested,
}

impl Verdict {
    /// The verdict of this name in the API.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "approved" => Some(Self::Approved),
            "changes_requested" => Some(Self::ChangesRequested),
            _ => None,
        }
    }

    /// What a person reads.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::ChangesRequested => "changes requested",
        }
    }

    /// The state that lends it its shape and colour.
    pub(crate) fn state(self) -> State {
        match self {
            Self::Approved => State::Succeeded,
            Self::ChangesRequested => State::GaveUp,
        }
    }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "search.html")]
pub(crate) struct Search {
    pub(crate) shell: Shell,
    pub(crate) query: Text,
    pub(crate) hits: Vec<Hit>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hit {
    pub(crate) kind: &'static str,
    pub(crate) title: Text,
    pub(crate) href: String,
}
