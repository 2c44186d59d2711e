//! What the server asks a runner about services and tasks of an environment, version 1. A stream that
//! begins with [`FrameKind::Ask`](crate::attach::FrameKind::Ask) and an [`Ask`] is answered with a line of
//! JSON, a [`Told`], as output; to a wish for a log its bytes follow.

use serde::{Deserialize, Serialize};

use crate::api::service::{Automation, Service, TaskRun};

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// How everything stands.
    Look,
    /// Something of a service.
    Service {
        /// Which.
        name: String,
        /// What.
        wish: Wish,
    },
    /// That a task runs, and what it depends on before it. One that runs is left alone.
    Run {
        /// Which.
        task: String,
    },
    /// The output of a service or a task, as it is kept: its end.
    Log {
        /// Of which.
        of: Of,
        /// From which byte of all that it ever was.
        after: u64,
        /// Whether what will come is wanted too: of a service until the stream ends, of a task to its end.
        follow: bool,
    },
}

/// What somebody wants of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// That it runs, and what it depends on before it.
    Start,
    /// That it does not run.
    Stop,
    /// That it is stopped and started.
    Restart,
}

/// Whose output is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// A service's.
    Service(String),
    /// A task's, of its last run.
    Task(String),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "snake_case")]
pub enum Told {
    /// To a look.
    Automation {
        /// Everything.
        automation: Automation,
    },
    /// To a wish.
    Service {
        /// The service, once that is done or on its way.
        service: Service,
    },
    /// To the wish that a task runs.
    Run {
        /// Its run, just begun or under way.
        run: TaskRun,
    },
    /// To the wish for a log. Its bytes follow.
    Log {
        /// The first byte that follows, of all that it ever was.
        from: u64,
    },
    /// There is none of that name.
    Unknown {
        /// What there is instead, for a person.
        why: String,
    },
    /// It can't be done.
    Refused {
        /// Why and what to do, for a person.
        why: String,
    },
}
