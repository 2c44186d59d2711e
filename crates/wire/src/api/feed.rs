//! The global feed: that something changed, in one order for everything. It tells who watches a list
//! to look again; the details are in each thing's own stream.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeedEvent {
    /// Its place in the feed. What `Last-Event-ID` carries.
    pub seq: u64,
    /// When.
    pub at: i64,
    /// What sort of thing: `run`, `job`, `environment`, `pull_request`, `project` or `runner`.
    pub subject: String,
    /// Which one.
    pub id: String,
    /// What happened, one word.
    pub what: String,
}
