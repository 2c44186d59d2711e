//! Runners, as people see them. Their own protocol is in [`crate::runner`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_run::{JobId, RunnerId};

use crate::runner::{Health, Wish};

/// A runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Runner {
    /// Its id.
    #[schemars(with = "String")]
    pub id: RunnerId,
    /// Its name.
    pub name: String,
    /// The version of its binary.
    pub version: String,
    /// What it is and has, in alphabetical order.
    #[serde(default)]
    pub labels: Vec<String>,
    /// How many jobs it works on at once.
    pub capacity: u32,
    /// How many environments that live by themselves it lets run at once.
    #[serde(default)]
    pub environments: u32,
    /// How many of those it keeps, stopped ones too.
    #[serde(default)]
    pub kept: u64,
    /// When it first came.
    #[serde(default)]
    pub registered_at: i64,
    /// When it was last heard of.
    pub seen_at: i64,
    /// True if it was heard of lately.
    pub alive: bool,
    /// What is wanted of it.
    #[serde(default)]
    pub wish: Wish,
    /// The jobs that it holds.
    #[schemars(with = "Vec<String>")]
    pub jobs: Vec<JobId>,
    /// How its machine was when it was last heard of; absent if it was not since the server started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What somebody should look at, in sentences.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// Tells a runner what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunnerChange {
    /// What.
    pub wish: Wish,
}

/// How a runner is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveRunner {
    /// True: also one that holds jobs or keeps environments. Jobs go to others; work trees of
    /// environments are out of reach then.
    #[serde(default)]
    pub force: bool,
}

/// Asks for a code by which one runner can join.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    /// For how long, in seconds, 1 to 604,800 (a week). 3,600 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// A code by which one runner can join, once. It is shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Invitation {
    /// The code.
    pub code: String,
    /// When it expires.
    pub expires_at: i64,
    /// The address of this server.
    pub server: String,
    /// The SHA-256 of the server's certificate, where the server made it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation").field("server", &self.server).finish_non_exhaustive()
    }
}
