//! Migrations: numbered, run once each, in a transaction, never edited afterwards. A database that
//! is newer than this binary, or not one of ours, is left alone.

use sha2::{Digest, Sha256};
use windlass_run::Time;

use crate::{
    Error,
    database::{Connection, Failure},
    dialect::{Dialect, types},
};

/// All migrations in order; the first one is number 1.
const MIGRATIONS: [(&str, &str); 14] = [
    ("identity", include_str!("migrations/0001_identity.sql")),
    ("runs", include_str!("migrations/0002_runs.sql")),
    ("streams", include_str!("migrations/0003_streams.sql")),
    ("pulls", include_str!("migrations/0004_pulls.sql")),
    ("secrets", include_str!("migrations/0005_secrets.sql")),
    ("readiness", include_str!("migrations/0006_readiness.sql")),
    ("environments", include_str!("migrations/0007_environments.sql")),
    ("runners", include_str!("migrations/0008_runners.sql")),
    ("keys", include_str!("migrations/0009_keys.sql")),
    ("classes", include_str!("migrations/0010_classes.sql")),
    ("events", include_str!("migrations/0011_events.sql")),
    ("automations", include_str!("migrations/0012_automations.sql")),
    ("fleets", include_str!("migrations/0013_fleets.sql")),
    ("triggers", include_str!("migrations/0014_triggers.sql")),
];

/// The newest schema that this version knows.
pub(crate) fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Brings a database up to schema `to` (normally [`newest`]).
pub(crate) fn migrate(
    connection: &mut Connection,
    database: &str,
    to: i64,
    now: Time,
) -> Result<(), Error> {
    let found = schema(connection, database)?;
    if found > newest() {
        return Err(Error::Newer { database: database.to_owned(), found, known: newest() });
    }
    check_history(connection, database, found)?;
    for (number, (name, text)) in (1..).zip(MIGRATIONS) {
        if number > found && number <= to {
            apply(connection, number, name, text, now).map_err(|failure| {
                let _nothing_begun = connection.rollback();
                failure.into_error()
            })?;
            tracing::info!(schema = number, name, "the database was brought up to date");
        }
    }
    Ok(())
}

fn apply(
    connection: &mut Connection,
    number: i64,
    name: &str,
    text: &str,
    now: Time,
) -> Result<(), Failure> {
    let script = types::translate(connection.dialect(), text);
    connection.begin()?;
    if number == 1 {
        let table = "CREATE TABLE windlass_schema (number BIGINT PRIMARY KEY, name TEXT NOT NULL, \
                     digest TEXT NOT NULL, at BIGINT NOT NULL)";
        let meta = "CREATE TABLE windlass_meta (name TEXT PRIMARY KEY, n BIGINT NOT NULL)";
        connection.script(&format!("{table}; {meta};"))?;
    }
    connection.script(&script)?;
    let insert = "INSERT INTO windlass_schema (number, name, digest, at) VALUES ($1, $2, $3, $4)";
    let digest = digest(text);
    connection.write(insert, &[number.into(), name.into(), (&digest).into(), now.into()])?;
    connection.commit()
}

/// The schema of a database: 0 if it is empty.
fn schema(connection: &mut Connection, database: &str) -> Result<i64, Error> {
    let list = match connection.dialect() {
        Dialect::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table'",
        Dialect::Postgres => {
            "SELECT table_name::text FROM information_schema.tables \
             WHERE table_schema = current_schema()"
        }
    };
    let foreign = |found: String| Error::Foreign { database: database.to_owned(), found };
    let rows = match connection.read(list, &[]) {
        Ok(rows) => rows,
        Err(Failure::Lost(why)) if why.contains("not a database") => {
            return Err(foreign("it is not a database file".to_owned()));
        }
        Err(failure) => return Err(failure.into_error()),
    };
    let mut tables = Vec::new();
    for mut row in rows {
        tables.push(row.text(0)?);
    }
    if tables.is_empty() {
        return Ok(0);
    }
    if !tables.iter().any(|table| table == "windlass_schema") {
        tables.sort();
        tables.truncate(3);
        return Err(foreign(format!("it has the tables {}, ...", tables.join(", "))));
    }
    let mut rows = connection
        .read("SELECT COALESCE(MAX(number), 0) FROM windlass_schema", &[])
        .map_err(Failure::into_error)?;
    rows.first_mut().map_or(Ok(0), |row| row.int(0))
}

/// A migration that was edited after it ran would let two databases of one schema differ.
fn check_history(connection: &mut Connection, database: &str, found: i64) -> Result<(), Error> {
    if found == 0 {
        return Ok(());
    }
    let rows = connection
        .read("SELECT number, name, digest FROM windlass_schema ORDER BY number", &[])
        .map_err(Failure::into_error)?;
    for mut row in rows {
        let (number, name, digest_then) = (row.int(0)?, row.text(1)?, row.text(2)?);
        let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let same = MIGRATIONS.get(index).is_some_and(|(_, text)| digest(text) == digest_then);
        if !same {
            return Err(Error::Foreign {
                database: database.to_owned(),
                found: format!("its migration {number} ({name}) is not the one of this version"),
            });
        }
    }
    Ok(())
}

fn digest(text: &str) -> String {
    crate::hex(&Sha256::digest(text.as_bytes()))
}
