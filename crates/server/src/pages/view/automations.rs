//! Automations: the list of those in force, and the page of one.

use askama::Template;

use super::{
    Moment, Shell, State, Text,
    home::FormProblem,
    shell::{Id, Who},
};

/// The list.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "automations.html")]
pub(crate) struct Automations {
    pub(crate) shell: Shell,
    pub(crate) rows: Vec<AutomationRow>,
    pub(crate) next: Option<String>,
}

/// An automation in the list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AutomationRow {
    pub(crate) name: Text,
    pub(crate) href: String,
    pub(crate) description: Text,
    pub(crate) health: Health,
    pub(crate) triggers: Vec<Text>,
    /// When its schedules start it next.
    pub(crate) next: Option<Moment>,
    pub(crate) last: Option<RunRow>,
    /// How many of its last jobs succeeded, and what one used, in words.
    pub(crate) success: String,
    pub(crate) cost: String,
}

/// How an automation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    /// The word for it.
    pub(crate) word: &'static str,
    /// Its icon in the sheet.
    pub(crate) icon: &'static str,
    /// Whether somebody should look.
    pub(crate) is_wrong: bool,
    /// Why.
    pub(crate) reason: Option<Text>,
}

/// The page of one.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "automation.html")]
pub(crate) struct Automation {
    pub(crate) shell: Shell,
    pub(crate) row: AutomationRow,
    pub(crate) version: u64,
    pub(crate) file: Text,
    pub(crate) text: Text,
    /// The project whose file it is.
    pub(crate) project: Option<(Text, String)>,
    pub(crate) applied_by: Who,
    pub(crate) targets: Text,
    pub(crate) fires: Vec<Moment>,
    pub(crate) runs: Vec<RunRow>,
    pub(crate) versions: Vec<VersionRow>,
    /// The form to start it, if this person may and its file lets it.
    pub(crate) start: Option<Start>,
    /// Whether this person may change it.
    pub(crate) may_manage: bool,
    pub(crate) is_paused: bool,
    pub(crate) problem: Option<FormProblem>,
}

/// A run of an automation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunRow {
    pub(crate) id: Id,
    pub(crate) href: String,
    pub(crate) state: State,
    pub(crate) version: Option<u64>,
    pub(crate) jobs: u32,
    pub(crate) created: Moment,
}

/// A version of an automation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VersionRow {
    pub(crate) version: u64,
    pub(crate) origin: Text,
    pub(crate) by: Who,
    pub(crate) at: Moment,
    /// What it changed in the one before, as lines of a diff; absent for the oldest shown.
    pub(crate) diff: Option<Text>,
    pub(crate) is_current: bool,
}

/// The form that starts a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Start {
    pub(crate) inputs: Vec<InputField>,
    /// Whether projects must be named.
    pub(crate) needs_projects: bool,
    pub(crate) projects: Text,
}

/// An input in the form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InputField {
    pub(crate) name: Text,
    /// `string`, `integer`, ...
    pub(crate) kind: &'static str,
    pub(crate) about: Text,
    /// What was filled in, or the default.
    pub(crate) value: Text,
    pub(crate) choices: Vec<Text>,
    pub(crate) is_required: bool,
}
