//! Search over runs, jobs, pull requests and projects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to look for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchQuery {
    /// Words; all of them must occur.
    pub q: String,
    /// How many hits, 1 to 100. 20 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What was found, best first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchResult {
    /// The hits.
    pub hits: Vec<Hit>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hit {
    /// `run`, `job`, `pull_request` or `project`.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its title or name, untrusted.
    pub title: String,
    /// Where a person sees it.
    pub url: String,
}
