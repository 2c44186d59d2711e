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

mod blobs;
mod check;
mod database;
mod dialect;
mod migrate;
mod writer;

pub mod artifacts;
pub mod feed;
pub mod outbox;
pub mod runs;
pub mod streams;
pub mod work;

pub mod automations;
pub mod classes;
pub mod environments;
pub mod events;
pub mod fleets;
pub mod hooks;
pub mod identity;
pub mod intake;
pub mod notices;
pub mod projects;
pub mod pulls;
pub mod readiness;
pub mod schedules;
pub mod secrets;
pub mod turns;

pub use error::Error;
pub use options::Options;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use database::{Connection, Failure, Row, postgres, readers::Readers, readers::Values, sqlite};
use dialect::{Dialect, locking};
use tokio::sync::watch;
use writer::{Core, Counted, Typed, memory::Memory, memory::Settle, thread::Writer, tx::Tx};

/// A handle on one database and one directory of blobs. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Writer,
    readers: Readers,
    dialect: Dialect,
    hint: watch::Receiver<feed::Hint>,
    counted: Arc<Counted>,
    generation: u64,
    blobs: blobs::Blobs,
    tokens: identity::Known,
}

/// What the store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Commands answered.
    pub commands: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Times that the database was made to reach the disk (commits, and copies of the log into the
    /// database), and blobs that were.
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
        let place = Place::parse(url)?;
        if options.writer == options::Writer::Inline {
            return Self::assemble(place, options);
        }
        // Connecting blocks, and must not happen on a thread that drives futures.
        let assembled = tokio::task::spawn_blocking(move || Self::assemble(place, options));
        assembled.await.map_err(|e| Error::Unavailable { context: format!("opening: {e}") })?
    }

    /// Brings a database up to an older schema and closes it again: for tests of migrations.
    #[doc(hidden)]
    pub async fn prepare(url: &str, options: Options, schema: i64) -> Result<(), Error> {
        let place = Place::parse(url)?;
        let prepare = move || {
            let shown = place.shown();
            let (mut connection, _lock, _readers) = place.connect(&options)?;
            migrate::migrate(&mut connection, &shown, schema, options.now)
        };
        let prepared = tokio::task::spawn_blocking(prepare);
        prepared.await.map_err(|e| Error::Unavailable { context: format!("opening: {e}") })?
    }

    fn assemble(place: Place, options: Options) -> Result<Self, Error> {
        let shown = place.shown();
        let blobs = blobs::Blobs::open(&options.blobs, options.durability)?;
        let (mut connection, lock, readers) = place.connect(&options)?;
        migrate::migrate(&mut connection, &shown, migrate::newest(), options.now)?;
        let generation = next_generation(&mut connection).map_err(Failure::into_error)?;
        let settle =
            Settle { now: options.now, lease_ttl: options.lease_ttl, jobs: options.jobs_in_memory };
        let memory = Memory::load(&mut connection, settle, generation)?;
        let dialect = connection.dialect();
        let counted = Arc::new(Counted::default());
        let (sender, hint) = watch::channel(memory.hint());
        let fault = options.fault.clone();
        let core = Core::new(connection, memory, sender, counted.clone(), fault, lock);
        let writer = match options.writer {
            options::Writer::Thread => Writer::spawn(core, options.group)?,
            options::Writer::Inline => Writer::inline(core),
        };
        let tokens = identity::Known::default();
        let inner = Inner { writer, readers, dialect, hint, counted, generation, blobs, tokens };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the store has done since it was opened.
    pub fn stats(&self) -> Stats {
        self.inner.counted.stats()
    }

    /// Finishes the commands under way and closes the database. Other handles answer
    /// [`Error::Unavailable`] afterwards.
    pub async fn close(self) {
        self.inner.writer.close().await;
        self.inner.readers.close();
    }

    /// Hands a command to the writer and waits until it is durable.
    async fn command<T, F>(&self, function: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        let (command, answer) = Typed::new(function);
        self.inner.writer.hand(Box::new(command)).await?;
        answer.await.unwrap_or_else(|_| Err(writer::thread::closed()))
    }

    /// Hands many commands to the writer, so that one group can take them, and waits for all.
    async fn commands<T, F>(&self, functions: impl IntoIterator<Item = F>) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        let mut waiting = Vec::new();
        for function in functions {
            let (command, answer) = Typed::new(function);
            self.inner.writer.hand(Box::new(command)).await?;
            waiting.push(answer);
        }
        let mut answers = Vec::with_capacity(waiting.len());
        for answer in waiting {
            answers.push(answer.await.unwrap_or_else(|_| Err(writer::thread::closed()))?);
        }
        Ok(answers)
    }

    /// Does what blocks without holding up others; on the spot where the writer is inline.
    async fn off_thread<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, Error> + Send + 'static,
    {
        if matches!(self.inner.writer, Writer::Inline(_)) {
            return work();
        }
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|e| Error::Unavailable { context: format!("a blocking task: {e}") })?
    }

    /// Reads what is committed.
    async fn query(&self, sql: &str, values: Values) -> Result<Vec<Row>, Error> {
        match self.inner.writer.read_inline(sql, &values) {
            Some(answer) => answer,
            None => self.inner.readers.query(sql, values).await,
        }
    }
}

/// Where a database is.
enum Place {
    Sqlite(PathBuf),
    Postgres(Box<postgres::Address>),
}

impl Place {
    fn parse(url: &str) -> Result<Self, Error> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            if path.is_empty() {
                return Err(Error::Invalid { why: "`sqlite:` needs a path: `sqlite:PATH`".into() });
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(Box::new(postgres::Address::parse(url)?)));
        }
        let scheme: String = url.chars().take_while(|c| *c != ':').take(20).collect();
        Err(Error::Invalid {
            why: format!(
                "`{scheme}` is not a kind of database: use `sqlite:PATH` or `postgres://...`"
            ),
        })
    }

    fn shown(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(address) => address.shown.clone(),
        }
    }

    fn connect(
        self,
        options: &Options,
    ) -> Result<(Connection, Option<locking::FileLock>, Readers), Error> {
        match self {
            Self::Sqlite(path) => {
                let lock = locking::take_sqlite(&path)?;
                let sqlite = open_sqlite(&path, options)?;
                let readers = Readers::sqlite(path, options.readers);
                Ok((Connection::Sqlite(sqlite), Some(lock), readers))
            }
            Self::Postgres(_) if options.writer == options::Writer::Inline => {
                Err(Error::Invalid { why: "the inline writer is for SQLite only".to_owned() })
            }
            Self::Postgres(address) => {
                let postgres = postgres::Postgres::open((*address).clone(), options.durability)?;
                let readers = Readers::postgres(*address, options.readers);
                Ok((Connection::Postgres(Box::new(postgres)), None, readers))
            }
        }
    }
}

fn open_sqlite(path: &Path, options: &Options) -> Result<sqlite::Sqlite, Error> {
    sqlite::Sqlite::open(path, options.durability).map_err(|failure| match failure {
        Failure::Lost(why) if why.contains("not a database") => Error::Foreign {
            database: path.display().to_string(),
            found: "it is not a database file".to_owned(),
        },
        Failure::Statement(why) | Failure::Lost(why) => {
            Error::Unavailable { context: format!("opening {}: {why}", path.display()) }
        }
        Failure::Full(context) => Error::Full { context },
    })
}

/// The server's own generation: one more than at the last opening.
fn next_generation(connection: &mut Connection) -> Result<u64, Failure> {
    connection.begin()?;
    connection.write(
        "INSERT INTO windlass_meta (name, n) VALUES ('generation', 1) \
         ON CONFLICT (name) DO UPDATE SET n = windlass_meta.n + 1",
        &[],
    )?;
    let select = "SELECT n FROM windlass_meta WHERE name = 'generation'";
    let mut rows = connection.read(select, &[])?;
    connection.commit()?;
    let generation = rows.first_mut().map(|row| row.natural(0));
    generation
        .and_then(Result::ok)
        .ok_or_else(|| Failure::Statement("the generation could not be counted".to_owned()))
}

/// Bytes in hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
