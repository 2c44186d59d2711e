//! All SQL, migrations and blobs. Nothing outside of this crate knows what a table is called.
//!
//! A [`Store`] is a handle on one database (SQLite or PostgreSQL) and one directory of blobs. Exactly
//! one process has a database open for writing; a second one is refused. Inside it, *one* writer
//! runs all commands: it takes what has queued up, runs it in one transaction, commits once, and
//! only then answers (group commit). Whoever waits for a command's answer knows that it is durable.
//! Readers work beside it on read-only connections and see committed state only.
//!
//! ```text
//! commands (async fn …(by, …, now))  ──►  writer: decide → events → projections, outbox, feed ──► commit ──► answers, hint
//! queries  (async fn …(organisation, …)) ──►  readers
//! ```
//!
//! - Job commands go through [`windlass_run::job::decide`]; events, projections, outbox and feed rows
//!   are written in the transaction of the command that caused them.
//! - A refusal by the job machine is an answer, not an [`Error`]. After an [`Error`] nothing of the
//!   command was kept, except after [`Error::Unavailable`], where nobody can tell: repeat it. Every
//!   command is safe to repeat: by its ids, its epoch and sequence numbers, or an idempotency key.
//! - Lease deadlines live in the writer's memory and reach the database only along with other
//!   changes of the job, so a heartbeat costs no disk write. After a restart of the server every
//!   lease that was held gets one fresh term.
//! - Every row has an organisation, every command an actor ([`windlass_run::actor::By`]), and time
//!   and ids come from the caller.

pub mod error;
pub mod options;

pub mod artifacts;
pub mod feed;
pub mod outbox;
pub mod runs;
pub mod streams;
pub mod work;

pub mod identity;
pub mod intake;
pub mod projects;
pub mod pulls;

pub use error::Error;
pub use options::Options;

use std::sync::Arc;

/// A handle on one database and one directory of blobs. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    _inner: Arc<()>,
}

/// What the store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Commands answered.
    pub commands: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Times that the database was made to reach the disk (commits and checkpoints of the log).
    pub fsyncs: u64,
    /// Groups that failed as a whole and were run again, command by command.
    pub replays: u64,
}

impl Store {
    /// Opens a database and its blobs: `sqlite:PATH` (made if it is not there) or
    /// `postgres://USER@HOST/DATABASE?sslmode=...`. An older schema is brought up to date.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Newer`], [`Error::Foreign`], [`Error::Invalid`] for a URL that
    /// can't be read, [`Error::Unavailable`].
    pub async fn open(url: &str, options: Options) -> Result<Self, Error> {
        let _ = (url, options);
        Err(Error::Unavailable { context: "not built yet".into() })
    }

    /// What the store has done since it was opened.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Finishes the commands under way and closes the database. Other handles answer
    /// [`Error::Unavailable`] afterwards.
    pub async fn close(self) {}

    /// Refolds every journal and compares it with the projections, counters, outbox and blobs. An
    /// empty answer means that everything agrees. Slow: it reads everything.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn check(&self) -> Result<Vec<String>, Error> {
        self.unfinished()
    }

    pub(crate) fn unfinished<T>(&self) -> Result<T, Error> {
        Err(Error::Unavailable { context: "not built yet".into() })
    }
}
