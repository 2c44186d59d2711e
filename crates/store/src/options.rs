//! How a store behaves. Everything that changes results is a parameter; nothing is read from the
//! process environment.

use std::{path::PathBuf, sync::Arc};

use windlass_run::{Duration, Time};

/// How a [`crate::Store`] behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory for blobs, made if it is not there. On the same disk as a SQLite database.
    pub blobs: PathBuf,
    /// The time of opening. Leases that were held get a fresh term from then.
    pub now: Time,
    /// How long that fresh term is: the time to live that the server gives to leases.
    pub lease_ttl: Duration,
    /// How many read-only connections there are.
    pub readers: usize,
    /// How many commands one transaction takes at most.
    pub group: usize,
    /// How many jobs the writer keeps in memory at most, beside those that are leased.
    pub jobs_in_memory: usize,
    /// Where commands run.
    pub writer: Writer,
    /// How much is asked of the disk.
    pub durability: Durability,
    /// Makes transactions fail, for simulations; absent otherwise.
    pub fault: Option<Fault>,
}

/// Makes transactions fail: asked right before each commit, which fails if the answer is true.
#[derive(Clone)]
pub struct Fault(pub Arc<dyn Fn() -> bool + Send + Sync>);

impl std::fmt::Debug for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fault(..)")
    }
}

/// Where commands run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// On a thread of their own, grouped.
    Thread,
    /// On the caller's thread, one at a time, without any other thread: for deterministic
    /// simulations. SQLite only.
    Inline,
}

/// How much is asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// An answered command survives a power failure.
    Full,
    /// An answered command survives a crash of the process only: for simulations and throw-away
    /// databases.
    Process,
}

impl Options {
    /// What a server uses.
    pub fn new(blobs: impl Into<PathBuf>, now: Time) -> Self {
        Self {
            blobs: blobs.into(),
            now,
            lease_ttl: Duration::from_secs(30),
            readers: 4,
            group: 512,
            jobs_in_memory: 20_000,
            writer: Writer::Thread,
            durability: Durability::Full,
            fault: None,
        }
    }
}
