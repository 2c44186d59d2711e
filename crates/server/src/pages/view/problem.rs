//! Refusals and failures as pages, and the page of each code.

use askama::Template;

use super::{Html, Shell, Text};

/// A refusal or failure.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "problem.html")]
pub(crate) struct ProblemPage {
    pub(crate) shell: Shell,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The stable code, which has a page.
    pub(crate) code: String,
    /// What it means.
    pub(crate) title: String,
    /// What was wrong this time and what to do.
    pub(crate) detail: Text,
    /// Where in the request.
    pub(crate) place: Option<Text>,
    /// Try again after so many seconds.
    pub(crate) retry_after: Option<u64>,
}

/// The page of a code.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "problem_code.html")]
pub(crate) struct CodePage {
    pub(crate) shell: Shell,
    pub(crate) html: Html,
}

/// The list of codes.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "problem_codes.html")]
pub(crate) struct CodesPage {
    pub(crate) shell: Shell,
    /// The code, its status and what it means.
    pub(crate) codes: Vec<(String, u16, String)>,
}
