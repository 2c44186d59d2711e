//! Where the two databases differ: column types, full-text search, locking. Everything else is one
//! text for both.

pub(crate) mod locking;
pub(crate) mod search;
pub(crate) mod types;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}
