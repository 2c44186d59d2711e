//! Runners, as people see them. Their own protocol is in [`crate::runner`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_run::{JobId, RunnerId};

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
    /// How many jobs it works on at once.
    pub capacity: u32,
    /// When it was last heard of.
    pub seen_at: i64,
    /// True if it was heard of lately.
    pub alive: bool,
    /// The jobs that it holds.
    #[schemars(with = "Vec<String>")]
    pub jobs: Vec<JobId>,
}
