//! The one seam to a database: SQL text with values in, rows out. Whatever is above it does not know
//! which database it is.

pub(crate) mod postgres;
pub(crate) mod readers;
pub(crate) mod sqlite;
mod value;

pub(crate) use value::{Row, Value};

use crate::{Error, dialect::Dialect};

/// What a database says when it does not do what it was told.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The statement is at fault, or the rows that are there contradict it.
    Statement(String),
    /// The disk is full.
    Full(String),
    /// The connection is lost, or the disk can't be trusted any more.
    Lost(String),
}

impl Failure {
    /// The failure as a caller learns it.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Statement(context) => Error::Database { context },
            Self::Full(context) => Error::Full { context },
            Self::Lost(context) => Error::Unavailable { context },
        }
    }
}

/// A connection for the writer.
pub(crate) enum Connection {
    /// SQLite.
    Sqlite(sqlite::Sqlite),
    /// PostgreSQL.
    Postgres(Box<postgres::Postgres>),
}

/// An insert of many rows with the same columns.
pub(crate) struct Insert {
    /// `INSERT INTO table (columns) VALUES`.
    pub head: &'static str,
    /// How many columns.
    pub columns: usize,
    /// What follows the rows: empty, or `ON CONFLICT ...`.
    pub tail: &'static str,
}

impl Insert {
    /// The text for that many rows.
    pub(crate) fn text(&self, rows: usize) -> String {
        let mut text = String::with_capacity(self.head.len() + rows * self.columns * 5);
        text.push_str(self.head);
        for row in 0..rows {
            text.push_str(if row == 0 { " (" } else { ", (" });
            for column in 0..self.columns {
                if column > 0 {
                    text.push_str(", ");
                }
                text.push('$');
                text.push_str(&(row * self.columns + column + 1).to_string());
            }
            text.push(')');
        }
        if !self.tail.is_empty() {
            text.push(' ');
            text.push_str(self.tail);
        }
        text
    }
}

impl Connection {
    /// Which dialect it speaks.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Begins a transaction.
    pub(crate) fn begin(&mut self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.begin(),
            Self::Postgres(postgres) => postgres.begin(),
        }
    }

    /// Writes. PostgreSQL may tell of a failure only at the next read or the commit.
    pub(crate) fn write(&mut self, sql: &str, values: &[Value<'_>]) -> Result<(), Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.write(sql, values),
            Self::Postgres(postgres) => postgres.write(sql, values),
        }
    }

    /// Inserts rows, whose values follow one another in `values`.
    pub(crate) fn insert(&mut self, insert: &Insert, values: &[Value<'_>]) -> Result<(), Failure> {
        // Few distinct statements, so that all of them stay prepared; at most 32,000 parameters.
        let steps: &[usize] = match self {
            // One row at a time needs no statement journal, and there is no round trip to save.
            Self::Sqlite(_) => &[1],
            Self::Postgres(_) => &[128, 32, 8, 1],
        };
        let mut rest = values;
        for step in steps {
            let chunk = step * insert.columns;
            if rest.len() < chunk || chunk > 32_000 {
                continue;
            }
            let sql = insert.text(*step);
            while rest.len() >= chunk {
                let (now, later) = rest.split_at(chunk);
                self.write(&sql, now)?;
                rest = later;
            }
        }
        Ok(())
    }

    /// Reads, after all that was written before.
    pub(crate) fn read(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.read(sql, values),
            Self::Postgres(postgres) => postgres.read(sql, values),
        }
    }

    /// Runs statements without values and answers: schema changes.
    pub(crate) fn script(&mut self, sql: &str) -> Result<(), Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.script(sql),
            Self::Postgres(postgres) => postgres.script(sql),
        }
    }

    /// Commits, durably.
    pub(crate) fn commit(&mut self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.commit(),
            Self::Postgres(postgres) => postgres.commit(),
        }
    }

    /// Gives the transaction up.
    pub(crate) fn rollback(&mut self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.rollback(),
            Self::Postgres(postgres) => postgres.rollback(),
        }
    }

    /// Does what is due between transactions, and says how often the disk was reached for it.
    pub(crate) fn tend(&mut self) -> u64 {
        match self {
            Self::Sqlite(sqlite) => sqlite.tend(),
            Self::Postgres(_) => 0,
        }
    }

    /// Connects again after [`Failure::Lost`].
    pub(crate) fn reconnect(&mut self) -> Result<(), Error> {
        match self {
            Self::Sqlite(sqlite) => Err(Error::Unavailable { context: sqlite.broken() }),
            Self::Postgres(postgres) => postgres.reconnect(),
        }
    }
}
