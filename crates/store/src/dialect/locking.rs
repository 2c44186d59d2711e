//! One process writes. SQLite: a file beside the database, locked as long as the process lives.
//! PostgreSQL: an advisory lock, held as long as the writer's session.
//!
//! Wake-up needs no dialect while one process has the writer and all subscribers.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use tokio_postgres::{Client, error::SqlState};

use crate::{Error, database::postgres};

/// The advisory lock's key: "windlass" in ASCII.
const KEY: i64 = 0x7769_6e64_6c61_7373;

/// How long to wait for a lock that somebody holds, in milliseconds.
const PATIENCE_MS: u32 = 2_000;

/// The lock on a SQLite database. The kernel lifts it when the process ends, however it ends.
pub(crate) struct FileLock(File);

impl Drop for FileLock {
    /// Closing the file alone would leave the lock with a child that is just being forked.
    fn drop(&mut self) {
        let _closed_anyway = self.0.unlock();
    }
}

/// Takes the lock of a SQLite database.
pub(crate) fn take_sqlite(database: &Path) -> Result<FileLock, Error> {
    let path = lock_path(database);
    let unavailable = |doing: &str, why: std::io::Error| Error::Unavailable {
        context: format!("{doing} the lock {}: {why}", path.display()),
    };
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(|why| unavailable("opening", why))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _readable = file.read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => "another process".to_owned(),
                process_id => format!("process {process_id}"),
            };
            return Err(Error::Locked { database: database.display().to_string(), holder });
        }
        Err(TryLockError::Error(why)) => return Err(unavailable("taking", why)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(|why| unavailable("writing", why))?;
    Ok(FileLock(file))
}

fn lock_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    PathBuf::from(path)
}

/// Takes the lock of a PostgreSQL database for this session.
pub(crate) async fn take_postgres(client: &Client, database: &str) -> Result<(), Error> {
    let failed = |e| postgres::failure(e).into_error();
    // A predecessor that was killed may still be finishing on the server: wait for it a little.
    client.batch_execute(&format!("SET lock_timeout = {PATIENCE_MS}")).await.map_err(failed)?;
    let taken = client.execute("SELECT pg_advisory_lock($1)", &[&KEY]).await;
    client.batch_execute("SET lock_timeout = 0").await.map_err(failed)?;
    match taken {
        Ok(_) => return Ok(()),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {}
        Err(error) => return Err(failed(error)),
    }
    let holder = client
        .query_opt(
            "SELECT a.application_name, l.pid FROM pg_locks l \
             JOIN pg_stat_activity a ON a.pid = l.pid \
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND (l.classid::bigint << 32 | l.objid::bigint) = $1",
            &[&KEY],
        )
        .await
        .map_err(failed)?;
    let holder = match holder {
        Some(row) => {
            let (name, backend): (String, i32) = (row.get(0), row.get(1));
            let process = name.strip_prefix("windlass ").unwrap_or(&name);
            format!("process {process} (PostgreSQL backend {backend})")
        }
        None => "another process".to_owned(),
    };
    Err(Error::Locked { database: database.to_owned(), holder })
}
