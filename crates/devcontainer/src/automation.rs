//! `.windlass/environment.yaml`: the services that run beside the work and the tasks that prepare it.
//! Read here into types and put into order; started elsewhere. Nothing unknown is passed over in
//! silence: whoever misspells `depends_on` would wait for nothing.

mod order;
pub mod output;
mod read;

use std::time::Duration;

use indexmap::IndexMap;
use serde::Serialize;

use self::output::Output;
use crate::{place::Refused, reserved::Reserved};

/// Where the file lies in a project.
pub const FILE: &str = ".windlass/environment.yaml";

/// The services and tasks of a project, in the order in which they are written. No name is both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Automation {
    /// What runs beside the work.
    pub services: IndexMap<String, Service>,
    /// What runs to its end.
    pub tasks: IndexMap<String, Task>,
}

/// A program that runs beside the work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The shell command that is the service: it stays in the foreground.
    pub start: String,
    /// How to find out that it is ready; without it, it is so at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<Ready>,
    /// The shell command that asks it to end; without it, it gets SIGTERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
    /// What happens when it ends by itself.
    pub restart: Restart,
    /// The ports on which it listens.
    pub ports: Vec<u16>,
    /// The services that must be ready, and the tasks that must be done, before it starts.
    pub depends_on: Vec<String>,
    /// Its own variables.
    pub env: IndexMap<String, String>,
}

/// How to find out that a service is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// A shell command that is repeated until it ends with 0.
    pub command: String,
    /// For how long.
    #[serde(serialize_with = "as_seconds", rename = "timeout_seconds")]
    pub timeout: Duration,
}

/// What happens when a service ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Nothing.
    #[default]
    Never,
    /// It is started again unless it ended with 0.
    OnFailure,
    /// It is started again.
    Always,
}

/// A command that runs to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Task {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The shell command.
    pub command: String,
    /// On which occasions it runs by itself, or none but when somebody asks.
    pub on: Vec<Occasion>,
    /// The services that must be ready, and the tasks that must be done, before it runs.
    pub depends_on: Vec<String>,
    /// Its own variables.
    pub env: IndexMap<String, String>,
    /// The values that it gives.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub outputs: IndexMap<String, Output>,
}

/// When a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// When somebody asks.
    Manual,
    /// While the environment starts, among the services.
    Start,
    /// While the environment is made, before any service: what it leaves is files.
    Prebuild,
    /// After those of a prebuild, if a snapshot of what they left is taken then.
    BeforeSnapshot,
}

impl Automation {
    /// Reads the file's text. `file` is what places call it.
    ///
    /// # Errors
    /// [`Refused`] with everything that is wrong: no YAML, wrong types, unknown keys, names that
    /// nothing bears, circles, ports that clash, variables and ports that are the platform's.
    pub fn read(file: &str, text: &str, reserved: &Reserved) -> Result<Self, Refused> {
        read::read(file, text, reserved)
    }

    /// The tasks of a prebuild: the lists one after the other, what is in one list at once.
    pub fn prebuild(&self) -> Vec<Vec<&str>> {
        self.on(Occasion::Prebuild)
    }

    /// The tasks that run before a snapshot is taken, in the same way.
    pub fn before_snapshot(&self) -> Vec<Vec<&str>> {
        self.on(Occasion::BeforeSnapshot)
    }

    fn on(&self, occasion: Occasion) -> Vec<Vec<&str>> {
        let names = self.tasks.iter().filter(|(_, task)| task.on.contains(&occasion));
        self.levels(names.map(|(name, _)| name.as_str()).collect())
    }

    /// Services and tasks of a start: the lists one after the other, what is in one list at once.
    pub fn start(&self) -> Vec<Vec<&str>> {
        let tasks = self.tasks.iter().filter(|(_, task)| task.on.contains(&Occasion::Start));
        let services = self.services.keys().map(String::as_str);
        self.levels(services.chain(tasks.map(|(name, _)| name.as_str())).collect())
    }

    /// What must be there before the service or task of this name.
    pub fn depends_on(&self, name: &str) -> &[String] {
        match (self.services.get(name), self.tasks.get(name)) {
            (Some(service), _) => &service.depends_on,
            (None, Some(task)) => &task.depends_on,
            (None, None) => &[],
        }
    }

    fn levels<'a>(&'a self, names: Vec<&'a str>) -> Vec<Vec<&'a str>> {
        order::levels(names, |name| self.depends_on(name))
    }
}

impl Restart {
    /// Whether a service that ended is started again.
    pub fn again(self, succeeded: bool) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure => !succeeded,
            Self::Always => true,
        }
    }

    /// How long to wait before the start that follows `ends` ends in a row: the first soon, later ones
    /// ever more slowly, so that a broken service doesn't eat the machine.
    pub fn pause(ends: u32) -> Duration {
        const FIRST: Duration = Duration::from_millis(500);
        const LONGEST: Duration = Duration::from_secs(30);
        (FIRST * 2u32.pow(ends.saturating_sub(1).min(10))).min(LONGEST)
    }
}

fn as_seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_secs())
}

#[cfg(test)]
mod tests;
