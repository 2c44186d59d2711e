//! What a person split off a cluster, kept apart from what is computed, so that it holds when more changes
//! come and everything is computed anew.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Changes that somebody wants to be a cluster of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// What the new cluster is called.
    pub id: String,
    /// The ids of its changes. A change in several splits is in the last one.
    pub changes: BTreeSet<String>,
}
