//! One process writes. SQLite: a file beside the database, locked as long as the process lives.
//! PostgreSQL: an advisory lock, held as long as the writer's session.
//!
//! Wake-up needs no dialect while one process has the writer and all subscribers.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use tokio_postgres::Client;

use crate::{Error, database::postgres};

/// The advisory lock's key: "windlass" in ASCII.
const KEY: i64 = 0x7769_6e64_6c61_7373;

/// The lock on a SQLite database. The kernel lifts it when the process ends, however it ends.
pub(crate) struct FileLock(#[expect(dead_code, reason = "closing the file lifts the lock")] File);

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
    let row = client.query_one("SELECT pg_try_advisory_lock($1)", &[&KEY]).await.map_err(failed)?;
    if row.get::<_, bool>(0) {
        return Ok(());
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
