//! Environment classes: what each gives, and who can.

use askama::Template;

use super::{Shell, Text, home::FormProblem};

/// The list of classes, with the form to make one.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "classes.html")]
pub(crate) struct Classes {
    pub(crate) shell: Shell,
    pub(crate) rows: Vec<ClassRow>,
    /// The form, if this person may make one.
    pub(crate) form: Option<ClassForm>,
    pub(crate) problem: Option<FormProblem>,
}

/// A class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassRow {
    pub(crate) name: Text,
    /// What it gives, in words; empty: what the operators of runners say.
    pub(crate) gives: Vec<String>,
    /// Labels that a runner must have.
    pub(crate) needs: Vec<Text>,
    /// Runners that are there and have them.
    pub(crate) runners: Vec<Text>,
    /// Why nothing of it can start now.
    pub(crate) waits: Option<Text>,
    /// Where the form to remove it goes; absent for one that can't be.
    pub(crate) remove: Option<String>,
}

/// The form to make one, as it was filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClassForm {
    pub(crate) name: Text,
    pub(crate) cpus: Text,
    pub(crate) memory_mib: Text,
    pub(crate) disk_mib: Text,
    pub(crate) processes: Text,
    pub(crate) runs_on: Text,
    pub(crate) backend: String,
    pub(crate) gpu: bool,
}
