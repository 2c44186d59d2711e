//! SQLite: one connection that writes, in WAL mode, and as many as wanted that read.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, ToSql,
    types::{ToSqlOutput, ValueRef},
};

use crate::{
    database::{Failure, Row, Value, value::Cell},
    options::Durability,
};

/// From how many pages on the log is copied back into the database (4 KiB each).
const CHECKPOINT_PAGES: i32 = 4_000;

/// How many statements stay prepared.
const PREPARED: usize = 200;

/// A connection to a SQLite database.
pub(crate) struct Sqlite {
    connection: Connection,
    wal_pages: Arc<AtomicI32>,
    broken: Option<String>,
}

impl Sqlite {
    /// Opens a database for writing; makes it if it is not there.
    pub(crate) fn open(path: &Path, durability: Durability) -> Result<Self, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failure)?;
        let synchronous = match durability {
            Durability::Full => "FULL",
            Durability::Process => "OFF",
        };
        connection
            .execute_batch(&format!(
                "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; \
                 PRAGMA synchronous = {synchronous}; PRAGMA wal_autocheckpoint = 0; \
                 PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY;"
            ))
            .map_err(failure)?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        let wal_pages = Arc::new(AtomicI32::new(0));
        let seen = wal_pages.clone();
        let hook = move |_: &mut rusqlite::hooks::Wal, pages| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(hook)).map_err(failure)?;
        Ok(Self { connection, wal_pages, broken: None })
    }

    /// Opens a database that another connection of this process has made, for reading.
    pub(crate) fn open_reader(path: &Path) -> Result<Self, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failure)?;
        connection
            .execute_batch(
                "PRAGMA busy_timeout = 10000; PRAGMA query_only = 1; PRAGMA mmap_size = 268435456;",
            )
            .map_err(failure)?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        Ok(Self { connection, wal_pages: Arc::default(), broken: None })
    }

    pub(crate) fn begin(&mut self) -> Result<(), Failure> {
        if let Some(broken) = &self.broken {
            return Err(Failure::Lost(broken.clone()));
        }
        self.write("BEGIN IMMEDIATE", &[])
    }

    pub(crate) fn write(&mut self, sql: &str, values: &[Value<'_>]) -> Result<(), Failure> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| explain(e, sql))?;
        debug_assert!(in_order(&statement, values.len()), "parameters out of order in {sql}");
        statement
            .execute(rusqlite::params_from_iter(values))
            .map(|_| ())
            .map_err(|e| explain(e, sql))
    }

    pub(crate) fn read(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Failure> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| explain(e, sql))?;
        debug_assert!(in_order(&statement, values.len()), "parameters out of order in {sql}");
        let columns = statement.column_count();
        let mut rows =
            statement.query(rusqlite::params_from_iter(values)).map_err(|e| explain(e, sql))?;
        let mut answer = Vec::new();
        while let Some(row) = rows.next().map_err(|e| explain(e, sql))? {
            let mut cells = Vec::with_capacity(columns);
            for column in 0..columns {
                cells.push(match row.get_ref(column).map_err(|e| explain(e, sql))? {
                    ValueRef::Null => Cell::Null,
                    ValueRef::Integer(number) => Cell::Int(number),
                    ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
                    ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
                    ValueRef::Real(_) => {
                        let context = format!("column {column} has a fraction ({sql})");
                        return Err(Failure::Statement(context));
                    }
                });
            }
            answer.push(Row(cells));
        }
        Ok(answer)
    }

    pub(crate) fn script(&mut self, sql: &str) -> Result<(), Failure> {
        self.connection.execute_batch(sql).map_err(|e| explain(e, sql))
    }

    pub(crate) fn commit(&mut self) -> Result<(), Failure> {
        let committed = self.write("COMMIT", &[]);
        if let Err(Failure::Lost(why)) = &committed {
            // Whether pages reached the disk is unknown from now on: nothing may build on them.
            self.broken = Some(why.clone());
        }
        committed
    }

    pub(crate) fn rollback(&mut self) -> Result<(), Failure> {
        // A full disk may have rolled back already.
        if self.connection.is_autocommit() { Ok(()) } else { self.write("ROLLBACK", &[]) }
    }

    pub(crate) fn tend(&mut self) -> u64 {
        if self.wal_pages.load(Ordering::Relaxed) < CHECKPOINT_PAGES {
            return 0;
        }
        self.wal_pages.store(0, Ordering::Relaxed);
        match self.connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)") {
            // The log once before it is copied, the database once after.
            Ok(()) => 2,
            Err(error) => {
                tracing::warn!(%error, "the log could not be copied into the database; it goes on growing");
                0
            }
        }
    }

    pub(crate) fn broken(&self) -> String {
        self.broken.clone().unwrap_or_else(|| "the database failed; restart the server".to_owned())
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Owned(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// SQLite numbers `$n` by first appearance, PostgreSQL by `n`: they must be the same.
fn in_order(statement: &rusqlite::CachedStatement<'_>, values: usize) -> bool {
    statement.parameter_count() == values
        && (1..=values).all(|i| statement.parameter_name(i) == Some(format!("${i}").as_str()))
}

fn explain(error: rusqlite::Error, sql: &str) -> Failure {
    let verb: String = sql.chars().take(80).collect();
    match failure(error) {
        Failure::Statement(why) => Failure::Statement(format!("{why} ({verb})")),
        other => other,
    }
}

fn failure(error: rusqlite::Error) -> Failure {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Failure::Full(text),
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Failure::Lost(text)
        }
        _ => Failure::Statement(text),
    }
}
