//! Services and tasks of an environment, with the output of one of them.

use askama::Template;

use super::{Moment, Shell, Text, environments::Wish, files::Tabs, shell::State};

/// What runs beside the work in an environment.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "services.html")]
pub(crate) struct ServicesPage {
    pub(crate) shell: Shell,
    pub(crate) tabs: Tabs,
    pub(crate) services: Vec<ServiceRow>,
    pub(crate) tasks: Vec<TaskRow>,
    pub(crate) log: Option<LogView>,
}

/// A service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceRow {
    pub(crate) name: Text,
    pub(crate) description: Option<Text>,
    pub(crate) state: Stand,
    pub(crate) since: Option<Moment>,
    pub(crate) restarts: u32,
    pub(crate) ports: String,
    /// How it ended last, by itself.
    pub(crate) last_end: Option<Text>,
    /// What can be wished of it.
    pub(crate) wishes: Vec<Wish>,
    /// The page with its output.
    pub(crate) log: String,
}

/// A task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskRow {
    pub(crate) name: Text,
    pub(crate) description: Option<Text>,
    /// When it runs.
    pub(crate) on: String,
    pub(crate) last: Option<Stand>,
    pub(crate) ended: Option<Moment>,
    /// What it gave, or why it failed.
    pub(crate) came_to: Vec<Text>,
    /// Where the form goes that runs it.
    pub(crate) run: String,
    /// The page with its output.
    pub(crate) log: String,
}

/// The word of the API, with a shape and a colour.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stand {
    /// The word.
    pub(crate) word: String,
}

impl Stand {
    /// The shape and colour.
    pub(crate) fn state(&self) -> State {
        match self.word.as_str() {
            "ready" | "succeeded" => State::Succeeded,
            "starting" | "running" => State::Running,
            "waiting" => State::Waiting,
            "ended" | "failed" => State::Failed,
            "absent" => State::Queued,
            _ => State::Closed,
        }
    }
}

/// What one of them printed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LogView {
    /// `service` or `task`.
    pub(crate) kind: &'static str,
    pub(crate) name: Text,
    pub(crate) text: Text,
    /// Where what comes is streamed from.
    pub(crate) stream: String,
}
