//! Secrets and variables: what a person may see of them, and the form that sets one. No value of a
//! secret ever gets here.

use askama::Template;

use super::{Moment, Shell, Text, home::FormProblem};

/// The page of secrets and variables.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "secrets.html")]
pub(crate) struct Secrets {
    pub(crate) shell: Shell,
    pub(crate) rows: Vec<SecretRow>,
    pub(crate) next: Option<String>,
    /// The form, for those who may set any.
    pub(crate) form: Option<SecretFields>,
}

/// A secret or variable.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SecretRow {
    pub(crate) name: Text,
    pub(crate) kind: &'static str,
    /// Whose it is.
    pub(crate) owner: Text,
    /// How a step sees it.
    pub(crate) seen_as: Text,
    /// Where it is given.
    pub(crate) limits: Vec<Text>,
    /// A variable's value.
    pub(crate) value: Option<Text>,
    pub(crate) version: u64,
    pub(crate) updated: Moment,
    /// Who set it last.
    pub(crate) by: Text,
    /// Where it is removed, if this person may.
    pub(crate) remove: Option<String>,
}

/// What was filled in, but for the value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SecretFields {
    pub(crate) name: Text,
    pub(crate) is_variable: bool,
    /// `organisation`, `project` or `user`.
    pub(crate) scope: &'static str,
    /// Scopes to choose from.
    pub(crate) scopes: Vec<&'static str>,
    pub(crate) project: Text,
    pub(crate) form: &'static str,
    pub(crate) place: Text,
    pub(crate) branches: Text,
    pub(crate) steps: Text,
    pub(crate) problem: Option<FormProblem>,
}
