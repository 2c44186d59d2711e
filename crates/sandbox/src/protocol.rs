//! What client, supervisor, first process and keeper say to each other: plain data in JSON frames.
//!
//! Nothing here is read from a confined program: every channel in this file ends in a process of ours
//! that confined programs can neither trace nor write to.

use serde::{Deserialize, Serialize};

use crate::{
    canary::{Canary, Outcome},
    error::Error,
    operation::{Exec, Size, State, Status},
    plan::{EnvironmentId, Layer, OperationId, Plan, Report},
};

/// Raised whenever a message changes its meaning; client and supervisor must agree.
pub(crate) const VERSION: u32 = 2;

/// A client's question, with a number that its answer repeats.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) number: u64,
    pub(crate) request: Request,
}

/// The supervisor's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) number: u64,
    pub(crate) reply: Result<Reply, Error>,
}

/// What a client can ask.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    Hello {
        version: u32,
    },
    Create {
        plan: Box<Plan>,
    },
    Adopt {
        id: EnvironmentId,
    },
    Exec {
        id: EnvironmentId,
        exec: Box<Exec>,
    },
    Wait {
        id: EnvironmentId,
        operation: OperationId,
    },
    /// Answered as soon as the spool is longer than `after`, or the operation has ended.
    Output {
        id: EnvironmentId,
        operation: OperationId,
        after: u64,
    },
    Status {
        id: EnvironmentId,
        operation: OperationId,
    },
    Signal {
        id: EnvironmentId,
        operation: OperationId,
        signal: i32,
    },
    Resize {
        id: EnvironmentId,
        operation: OperationId,
        size: Size,
    },
    /// Answered with a socket that is connected to this port of the environment's loopback.
    Connect {
        id: EnvironmentId,
        port: u16,
    },
    Kill {
        id: EnvironmentId,
        operation: OperationId,
    },
    Forget {
        id: EnvironmentId,
        operation: OperationId,
    },
    Destroy {
        id: EnvironmentId,
    },
    List,
    Probe {
        id: EnvironmentId,
        canary: Canary,
    },
    Shutdown,
}

/// What a supervisor answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Hello {
        version: u32,
        pid: u32,
    },
    /// Comes with one listening socket per door, in the plan's order.
    Created {
        report: Report,
        doors: Vec<(String, u16)>,
    },
    /// Comes with three pipe ends when the operation has pipes or a terminal and was not known before.
    Started {
        fresh: bool,
        spool: Option<std::path::PathBuf>,
    },
    Status(Status),
    List(Vec<Listed>),
    Probed(Outcome),
    /// Comes with the socket.
    Connected,
    Done,
}

/// One environment as a supervisor lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The environment.
    pub id: EnvironmentId,
    /// Whether it is ready; false while it is being built or destroyed.
    pub ready: bool,
    /// What is in force; `None` until it is ready.
    pub report: Option<Report>,
    /// Its operations that were not forgotten yet.
    pub operations: Vec<(OperationId, Status)>,
    /// The process id, on the host, of the environment's first process.
    pub pid: u32,
}

/// From the supervisor to an environment's first process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToInit {
    /// Ids are mapped; go on.
    Mapped,
    /// Comes with the keeper's channel, then the spool file or the three pipe ends.
    Exec(Box<Exec>),
    /// Comes with the canary's result pipe.
    Probe(Canary),
    /// Comes with a channel for the connected socket.
    Connect(u16),
}

/// From an environment's first process to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromInit {
    /// The user namespace was made and waits for its ids.
    MapMe,
    /// Everything is in force. Comes with one listening socket per door.
    Ready { ports: Vec<u16>, proved: Vec<(Layer, Result<String, String>)>, shared_files: u64 },
    /// The build failed; the process ends.
    Failed(Error),
}

/// From the supervisor to an operation's keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToKeeper {
    Signal(i32),
    Resize(Size),
    Kill,
}

/// From an operation's keeper to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromKeeper {
    Output {
        spool_bytes: u64,
        dropped_bytes: u64,
    },
    Ended(State),
    /// Killing went on for too long: the program makes children faster than they can be killed.
    Stuck,
}
