//! The server itself: version, health, and who is asking.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which server answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// Always `windlass`.
    pub name: String,
    /// The binary's version.
    pub version: String,
    /// The version of the runner protocol.
    pub runner_protocol: u32,
}

/// Whether the server can do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `ok`, or `failing` with status 503.
    pub status: String,
    /// `ok`, or what the store said.
    pub store: String,
    /// The server's clock.
    pub now: i64,
}

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// The id of the user or token.
    pub id: String,
    /// `user` or `token`.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The role: `viewer`, `operator`, `reviewer`, `admin` or `runner`.
    pub role: String,
    /// What the role may do.
    pub permissions: Vec<String>,
}
