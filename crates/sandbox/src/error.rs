//! What can go wrong with environments, as far as a caller branches on it.
//!
//! Errors cross the supervisor's socket, so they are plain data; nothing here may hold a descriptor
//! or an `io::Error`. Each reads well after "failed to ...".

use serde::{Deserialize, Serialize};

use crate::plan::Layer;

/// The result of everything that this crate does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an environment, or something in it, could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// A layer that the plan requires is not to be had on this host. Nothing was started.
    #[error("the required layer `{layer}` is missing: {why}; to fix it: {remedy}")]
    LayerMissing {
        /// The layer that the plan demanded.
        layer: Layer,
        /// What the kernel or the host answered.
        why: String,
        /// The one command (or change) that makes the layer available.
        remedy: String,
    },
    /// The plan contradicts itself or asks for something that is never given.
    #[error("the plan is not acceptable: {why}")]
    InvalidPlan {
        /// What is wrong, where, and what to write instead.
        why: String,
    },
    /// The environment or the operation is unknown to the supervisor.
    #[error("there is no {what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// An id was used before for something else.
    #[error("conflict: {why}")]
    Conflict {
        /// Which id, and what it already stands for.
        why: String,
    },
    /// The environment was planned well but could not be built; it was removed again.
    #[error("could not build the environment: {step}: {why}")]
    Build {
        /// What was being done.
        step: String,
        /// What the kernel answered, and what to do where that is known.
        why: String,
    },
    /// The supervisor closed the connection or never answered. Its environments die with it, so
    /// whoever sees this should connect again and list what is left.
    #[error("the connection to the environment supervisor is gone: {why}")]
    Disconnected {
        /// How it was noticed.
        why: String,
    },
    /// A message that the other side could not understand.
    #[error("the environment supervisor and its client disagree: {why}")]
    Protocol {
        /// What was not understood.
        why: String,
    },
    /// The operating system refused something on the host's side.
    #[error("{doing}: {why}")]
    Io {
        /// What was being done, and to which path.
        doing: String,
        /// The system's answer.
        why: String,
    },
}

impl Error {
    /// Wraps a system error together with what was being done.
    pub(crate) fn io(doing: impl Into<String>, error: impl std::fmt::Display) -> Self {
        Self::Io { doing: doing.into(), why: error.to_string() }
    }

    /// A step of the build that the kernel refused.
    pub(crate) fn build(step: impl Into<String>, error: impl std::fmt::Display) -> Self {
        Self::Build { step: step.into(), why: error.to_string() }
    }

    /// A plan that is refused before anything is touched.
    pub(crate) fn invalid(why: impl Into<String>) -> Self {
        Self::InvalidPlan { why: why.into() }
    }
}
