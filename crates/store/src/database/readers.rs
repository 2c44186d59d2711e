//! Read-only connections beside the writer.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Semaphore;
use tokio_postgres::{Client, Statement};

use crate::{
    Error,
    database::{
        Failure, Row, Value,
        postgres::{self, Address},
        sqlite::Sqlite,
    },
};

/// A pool of connections that only read. Made when first needed, kept afterwards.
pub(crate) struct Readers {
    kind: Kind,
    permits: Semaphore,
}

enum Kind {
    Sqlite { path: PathBuf, idle: Arc<Mutex<Vec<Sqlite>>> },
    Postgres { address: Box<Address>, idle: Mutex<Vec<Session>> },
}

struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
}

/// A value that a query can carry to another thread.
pub(crate) type Values = Vec<Value<'static>>;

impl Readers {
    pub(crate) fn sqlite(path: PathBuf, count: usize) -> Self {
        let kind = Kind::Sqlite { path, idle: Arc::default() };
        Self { kind, permits: Semaphore::new(count.max(1)) }
    }

    pub(crate) fn postgres(address: Address, count: usize) -> Self {
        let kind = Kind::Postgres { address: Box::new(address), idle: Mutex::default() };
        Self { kind, permits: Semaphore::new(count.max(1)) }
    }

    /// Lets all connections go; later queries fail.
    pub(crate) fn close(&self) {
        self.permits.close();
        match &self.kind {
            Kind::Sqlite { idle, .. } => lock(idle).clear(),
            Kind::Postgres { idle, .. } => lock(idle).clear(),
        }
    }

    /// Runs one query.
    pub(crate) async fn query(&self, sql: &str, values: Values) -> Result<Vec<Row>, Error> {
        let closed = |_| Error::Unavailable { context: "the store is closed".to_owned() };
        let _permit = self.permits.acquire().await.map_err(closed)?;
        match &self.kind {
            Kind::Sqlite { path, idle } => {
                let (path, idle, sql) = (path.clone(), idle.clone(), sql.to_owned());
                let task = move || sqlite_query(&path, &idle, &sql, &values);
                let answer = tokio::task::spawn_blocking(task).await;
                answer.map_err(|e| Error::Unavailable { context: format!("the reader: {e}") })?
            }
            Kind::Postgres { address, idle } => {
                let session = lock(idle).pop().filter(|session| !session.client.is_closed());
                let mut session = match session {
                    Some(session) => session,
                    None => postgres_session(address).await?,
                };
                let answer = postgres_query(&mut session, sql, &values).await;
                let answer = answer.map_err(|e| postgres::failure(e).into_error());
                lock(idle).push(session);
                answer
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sqlite_query(
    path: &std::path::Path,
    idle: &Mutex<Vec<Sqlite>>,
    sql: &str,
    values: &[Value<'_>],
) -> Result<Vec<Row>, Error> {
    let connection = lock(idle).pop();
    let mut connection = match connection {
        Some(connection) => connection,
        None => Sqlite::open_reader(path).map_err(Failure::into_error)?,
    };
    let answer = connection.read(sql, values).map_err(Failure::into_error);
    lock(idle).push(connection);
    answer
}

async fn postgres_session(address: &Address) -> Result<Session, Error> {
    let client = address.connect().await.map_err(Failure::into_error)?;
    client
        .batch_execute("SET default_transaction_read_only = on")
        .await
        .map_err(|e| postgres::failure(e).into_error())?;
    Ok(Session { client, statements: HashMap::new() })
}

async fn postgres_query(
    session: &mut Session,
    sql: &str,
    values: &[Value<'_>],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let statement = match session.statements.get(sql) {
        Some(statement) => statement.clone(),
        None => {
            let statement = session.client.prepare(sql).await?;
            session.statements.insert(sql.to_owned(), statement.clone());
            statement
        }
    };
    postgres::query(&session.client, &statement, values).await
}
