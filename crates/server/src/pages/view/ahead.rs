//! What is kept ahead of demand for a project: a part of its page.

use super::Text;

/// What is kept ahead, on each runner that told of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ahead {
    /// What the project wants, in words.
    pub(crate) wants: String,
    pub(crate) rows: Vec<AheadRow>,
}

/// On one runner.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AheadRow {
    pub(crate) runner: Text,
    /// How many are ready, of how many that should be.
    pub(crate) size: String,
    /// Arrivals and the time that one takes to make; absent before both are known.
    pub(crate) demand: Option<String>,
    /// What those that wait hold.
    pub(crate) cost: String,
    /// How many of the last starts the pool had; absent before the first.
    pub(crate) hits: Option<String>,
    /// The last starts, the newest first.
    pub(crate) starts: Vec<AheadStart>,
}

/// A start.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AheadStart {
    /// Whether the pool had it.
    pub(crate) hit: bool,
    pub(crate) took: String,
}
