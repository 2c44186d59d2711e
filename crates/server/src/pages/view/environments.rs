//! Environments that live by themselves: the list, one of them, and its terminal.

use askama::Template;

use super::{
    Moment, Shell, Text,
    home::FormProblem,
    ports::PortsSection,
    shell::{Id, State, Who},
};

/// The list of environments, with the form to create one.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "environments.html")]
pub(crate) struct Environments {
    pub(crate) shell: Shell,
    /// True if archived and deleted ones are shown too.
    pub(crate) is_all: bool,
    pub(crate) rows: Vec<EnvironmentRow>,
    pub(crate) next: Option<String>,
    /// The form, if this person may create one.
    pub(crate) form: Option<EnvironmentForm>,
}

/// An environment in a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EnvironmentRow {
    pub(crate) name: Text,
    pub(crate) href: String,
    pub(crate) phase: Phase,
    pub(crate) project: Text,
    pub(crate) base: Text,
    pub(crate) owner: Who,
    pub(crate) created: Moment,
    pub(crate) active: Moment,
}

/// Where an environment stands: the word of the API, with a shape and a colour.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phase {
    /// The word.
    pub(crate) word: String,
}

impl Phase {
    /// The shape and colour.
    pub(crate) fn state(&self) -> State {
        match self.word.as_str() {
            "running" => State::Succeeded,
            "creating" => State::Queued,
            "starting" | "stopping" => State::Running,
            "failed" => State::Failed,
            "lost" => State::Waiting,
            _ => State::Closed,
        }
    }
}

/// The form to create an environment, as it was filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EnvironmentForm {
    /// Names of projects to choose from.
    pub(crate) projects: Vec<Text>,
    pub(crate) project: Text,
    pub(crate) name: Text,
    pub(crate) base: Text,
    /// Names of classes to choose from.
    pub(crate) classes: Vec<Text>,
    pub(crate) class: Text,
    pub(crate) problem: Option<FormProblem>,
}

/// The page of an environment.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "environment.html")]
pub(crate) struct Environment {
    pub(crate) shell: Shell,
    pub(crate) row: EnvironmentRow,
    pub(crate) id: Id,
    pub(crate) reason: Option<Text>,
    pub(crate) runner: Option<Text>,
    pub(crate) idle_minutes: Option<u64>,
    pub(crate) lives_until: Option<Moment>,
    /// Its class, and the labels that its runner must have.
    pub(crate) class: Text,
    pub(crate) runs_on: Vec<Text>,
    /// What it got of the machine.
    pub(crate) limits: Vec<LimitRow>,
    /// What a person may wish of it now.
    pub(crate) wishes: Vec<Wish>,
    /// The page of its terminal, if it runs and this person may use it.
    pub(crate) terminal: Option<String>,
    /// What was there before its last start, where that is known.
    pub(crate) was: Option<&'static str>,
    /// The page of its files.
    pub(crate) files: String,
    /// The page of how its work tree differs from its base.
    pub(crate) changes: String,
    /// The page of its services and tasks.
    pub(crate) services: String,
    /// Where the time of its last start went.
    pub(crate) stages: Vec<StageRow>,
    pub(crate) log: Text,
    pub(crate) work: Option<WorkLine>,
    pub(crate) happenings: Vec<HappeningRow>,
    pub(crate) ports: PortsSection,
    /// Commands that lead into it, with what each is for.
    pub(crate) ways: Vec<(&'static str, String)>,
}

/// Something that a button does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wish {
    /// What the button says.
    pub(crate) word: &'static str,
    /// Where its form goes.
    pub(crate) action: String,
    /// True if it takes something away.
    pub(crate) is_danger: bool,
}

/// A part of a start.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StageRow {
    pub(crate) name: Text,
    /// How long it took, with its unit.
    pub(crate) took: String,
    /// Its share of the whole, from 0 to 100.
    pub(crate) share: u64,
    /// Where its share begins, from 0 to 100.
    pub(crate) from: u64,
}

/// What it got of one thing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LimitRow {
    pub(crate) what: Text,
    pub(crate) amount: Text,
    /// True if something sees to it.
    pub(crate) is_enforced: bool,
    pub(crate) how: Text,
}

/// Work that no repository has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WorkLine {
    pub(crate) files: u32,
    pub(crate) commit: super::shell::Commit,
    /// Where its bundle is.
    pub(crate) href: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HappeningRow {
    pub(crate) at: Moment,
    pub(crate) by: Who,
    pub(crate) what: Text,
}

/// The page of a terminal.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "terminal.html")]
pub(crate) struct Terminal {
    pub(crate) shell: Shell,
    pub(crate) name: Text,
    /// Where its stream is.
    pub(crate) stream: String,
    pub(crate) back: String,
}
