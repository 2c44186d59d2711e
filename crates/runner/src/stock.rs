//! What is kept ready, so that a start finds most of its work done: prepared work trees and snapshots of
//! prepared environments on disk ([`Store`]), and environments that were started ahead ([`Pool`]).
//!
//! Everything here can be thrown away at any time: a start that finds nothing does the work itself. What
//! is half made is never used, because it is made beside its place and renamed. No environment ever sees
//! what is kept: it gets a copy of its own. Nothing here knows of jobs or holds a secret.

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of prepared trees and snapshots together.
    pub bytes: u64,
    /// Environments started ahead.
    pub pool: PoolLimits,
}

impl Default for Options {
    /// 20 GiB.
    fn default() -> Self {
        Self { bytes: 20 << 30, pool: PoolLimits::default() }
    }
}

mod pool;
mod start;
mod store;

pub use pool::{Bounds, Demand, OfProject, Pool, PoolLimits, Shown, Started};
pub(crate) use start::{HOME, INDEX, TREE, owner};
pub use start::{Made, Maker, Phases, Recipe, StartError};
pub use store::{Kept, Key, Store};
