//! PostgreSQL: one session that writes, driven by the writer's own thread. Statements of a
//! transaction are sent without waiting for the answers of those before (the protocol's pipelining);
//! a read or the commit collects all answers.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use futures::{FutureExt, TryStreamExt};
use tokio::runtime::Runtime;
use tokio_postgres::{
    Client, Config, Statement,
    types::{FromSql, IsNull, ToSql, Type, private::BytesMut},
};

use crate::{
    Error,
    database::{Failure, Row, Value, value::Cell},
    dialect::locking,
    options::Durability,
};

/// How many statements are sent before their answers are collected.
const IN_FLIGHT: usize = 256;

type Answer = Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + Send>>;

/// Where a PostgreSQL database is and how to get there.
#[derive(Clone)]
pub(crate) struct Address {
    config: Config,
    tls: Option<tokio_postgres_rustls::MakeRustlsConnect>,
    /// The address without a password.
    pub shown: String,
}

/// A session that writes.
pub(crate) struct Postgres {
    runtime: Runtime,
    address: Address,
    durability: Durability,
    client: Arc<Client>,
    statements: HashMap<String, Statement>,
    in_flight: Vec<Answer>,
}

impl Address {
    /// Reads a URL. Beside what libpq knows it takes `sslrootcert=PATH`, a file of certificates to
    /// trust instead of the system's.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let invalid = |why: String| Error::Invalid {
            why: format!("the PostgreSQL URL can't be read: {why}"),
        };
        let (url, roots) = take_root_certificate(url);
        let mut config: Config = url.parse().map_err(|e: tokio_postgres::Error| {
            invalid(std::error::Error::source(&e).map_or(e.to_string(), ToString::to_string))
        })?;
        config.application_name(format!("windlass {}", std::process::id()));
        let plain = config.get_ssl_mode() == tokio_postgres::config::SslMode::Disable;
        let tls = if plain { None } else { Some(connector(roots.as_deref()).map_err(invalid)?) };
        let host = match config.get_hosts().first() {
            Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
            Some(tokio_postgres::config::Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        let shown = format!("postgres://{host}/{}", config.get_dbname().unwrap_or_default());
        Ok(Self { config, tls, shown })
    }

    /// Connects, and leaves the connection's own work to the current runtime.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let client = match &self.tls {
            None => {
                let (client, connection) =
                    self.config.connect(tokio_postgres::NoTls).await.map_err(failure)?;
                tokio::spawn(connection.map(drop));
                client
            }
            Some(tls) => {
                let (client, connection) =
                    self.config.connect(tls.clone()).await.map_err(failure)?;
                tokio::spawn(connection.map(drop));
                client
            }
        };
        Ok(client)
    }
}

impl Postgres {
    /// Connects and takes the lock that makes this process the only one that writes.
    pub(crate) fn open(address: Address, durability: Durability) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::Unavailable { context: format!("no runtime: {e}") })?;
        let client = runtime.block_on(session(&address, durability))?;
        let (statements, in_flight) = (HashMap::new(), Vec::new());
        Ok(Self { runtime, address, durability, client: Arc::new(client), statements, in_flight })
    }

    pub(crate) fn reconnect(&mut self) -> Result<(), Error> {
        self.in_flight.clear();
        self.statements.clear();
        self.client = Arc::new(self.runtime.block_on(session(&self.address, self.durability))?);
        Ok(())
    }

    pub(crate) fn begin(&mut self) -> Result<(), Failure> {
        if self.client.is_closed() {
            return Err(Failure::Lost("the connection was closed".to_owned()));
        }
        self.write("BEGIN", &[])
    }

    pub(crate) fn write(&mut self, sql: &str, values: &[Value<'_>]) -> Result<(), Failure> {
        let statement = self.prepared(sql)?;
        let values: Vec<Parameter> = values.iter().map(Parameter::from).collect();
        let client = self.client.clone();
        let mut answer: Answer =
            Box::pin(async move { client.execute_raw(&statement, values).await });
        // The first poll hands the statement to the session; nothing is awaited yet.
        match self.runtime.block_on(async { futures::poll!(&mut answer) }) {
            std::task::Poll::Ready(answer) => answer.map(drop).map_err(failure),
            std::task::Poll::Pending => {
                self.in_flight.push(answer);
                if self.in_flight.len() >= IN_FLIGHT { self.collect() } else { Ok(()) }
            }
        }
    }

    pub(crate) fn read(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Failure> {
        self.collect()?;
        let statement = self.prepared(sql)?;
        self.runtime.block_on(query(&self.client, &statement, values)).map_err(failure)
    }

    pub(crate) fn script(&mut self, sql: &str) -> Result<(), Failure> {
        self.collect()?;
        self.runtime.block_on(self.client.batch_execute(sql)).map_err(failure)
    }

    pub(crate) fn commit(&mut self) -> Result<(), Failure> {
        // A COMMIT after a failed statement rolls back and says so only in its tag; the failed
        // statement itself is among the answers, so that both can travel together.
        self.write("COMMIT", &[])?;
        self.collect()
    }

    pub(crate) fn rollback(&mut self) -> Result<(), Failure> {
        let _known = self.collect();
        self.runtime.block_on(self.client.batch_execute("ROLLBACK")).map_err(failure)
    }

    fn prepared(&mut self, sql: &str) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        // Answers are taken in the order of the questions: one that nobody takes holds up the rest.
        self.collect()?;
        let prepared = self.runtime.block_on(self.client.prepare(sql));
        let statement = prepared.map_err(|e| match failure(e) {
            Failure::Statement(why) => Failure::Statement(format!("{why} ({sql})")),
            other => other,
        })?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Waits for all answers; the first failure counts, since the later ones only follow from it.
    fn collect(&mut self) -> Result<(), Failure> {
        let in_flight = std::mem::take(&mut self.in_flight);
        if in_flight.is_empty() {
            return Ok(());
        }
        let mut first = Ok(());
        self.runtime.block_on(async {
            for answer in in_flight {
                if let Err(error) = answer.await
                    && first.is_ok()
                {
                    first = Err(failure(error));
                }
            }
        });
        first
    }
}

impl Drop for Postgres {
    /// Lifts the lock at once: the server would notice a closed connection only a little later.
    fn drop(&mut self) {
        if !self.client.is_closed() {
            self.in_flight.clear();
            let unlocked = self.client.batch_execute("SELECT pg_advisory_unlock_all()");
            let _closed_meanwhile = self.runtime.block_on(unlocked);
        }
    }
}

/// Connects for writing.
async fn session(address: &Address, durability: Durability) -> Result<Client, Error> {
    let client = address.connect().await.map_err(Failure::into_error)?;
    let commit = match durability {
        Durability::Full => "on",
        Durability::Process => "off",
    };
    let settings = format!(
        "SET synchronous_commit = {commit}; SET client_min_messages = warning; \
         SET standard_conforming_strings = on"
    );
    client.batch_execute(&settings).await.map_err(|e| failure(e).into_error())?;
    locking::take_postgres(&client, &address.shown).await?;
    Ok(client)
}

/// Runs a query on any session.
pub(crate) async fn query(
    client: &Client,
    statement: &Statement,
    values: &[Value<'_>],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let values: Vec<Parameter> = values.iter().map(Parameter::from).collect();
    let rows = client.query_raw(statement, values).await?;
    let rows = rows.and_then(|row| async move {
        let mut cells = Vec::with_capacity(row.len());
        for column in 0..row.len() {
            cells.push(row.try_get(column)?);
        }
        Ok(Row(cells))
    });
    rows.try_collect().await
}

/// What a failure of the driver means here.
pub(crate) fn failure(error: tokio_postgres::Error) -> Failure {
    if let Some(db) = error.as_db_error() {
        let mut text = format!("{}: {}", db.code().code(), db.message());
        if let Some(detail) = db.detail() {
            text.push_str(" (");
            text.push_str(detail);
            text.push(')');
        }
        return match db.code().code() {
            "53100" => Failure::Full(text),
            // The server shuts down, is being recovered, or has ended this session.
            code if code.starts_with("57P") || code.starts_with("08") => Failure::Lost(text),
            _ => Failure::Statement(text),
        };
    }
    let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    Failure::Lost(format!("{error}: {why}"))
}

/// An owned value, as it travels while the writer goes on.
#[derive(Debug)]
enum Parameter {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl From<&Value<'_>> for Parameter {
    fn from(value: &Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Int(number) => Self::Int(*number),
            Value::Text(text) => Self::Text((*text).to_owned()),
            Value::Owned(text) => Self::Text(text.clone()),
            Value::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
        }
    }
}

impl ToSql for Parameter {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(number) if *kind == Type::INT8 => number.to_sql(kind, out),
            Self::Int(number) if *kind == Type::INT4 => i32::try_from(*number)?.to_sql(kind, out),
            Self::Text(text) if *kind == Type::TEXT => text.to_sql(kind, out),
            Self::Bytes(bytes) if *kind == Type::BYTEA => bytes.to_sql(kind, out),
            other => Err(format!("{other:?} does not fit a {kind}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

impl<'a> FromSql<'a> for Cell {
    fn from_sql(
        kind: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match *kind {
            Type::INT8 => Self::Int(i64::from_sql(kind, raw)?),
            Type::INT4 => Self::Int(i64::from(i32::from_sql(kind, raw)?)),
            Type::TEXT | Type::NAME | Type::VARCHAR => Self::Text(String::from_sql(kind, raw)?),
            Type::BYTEA => Self::Bytes(raw.to_vec()),
            ref other => return Err(format!("a column of type {other} is not expected").into()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn take_root_certificate(url: &str) -> (String, Option<String>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let (mut rest, mut roots) = (Vec::new(), None);
    for pair in query.split('&') {
        match pair.strip_prefix("sslrootcert=") {
            Some(path) => roots = Some(path.replace("%2F", "/").replace("%2f", "/")),
            None => rest.push(pair),
        }
    }
    match rest.is_empty() {
        true => (base.to_owned(), roots),
        false => (format!("{base}?{}", rest.join("&")), roots),
    }
}

fn connector(
    root_certificates: Option<&str>,
) -> Result<tokio_postgres_rustls::MakeRustlsConnect, String> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = root_certificates {
        let certificates = CertificateDer::pem_file_iter(path)
            .map_err(|e| format!("sslrootcert `{path}` can't be read: {e}"))?;
        for certificate in certificates {
            let certificate =
                certificate.map_err(|e| format!("sslrootcert `{path}` can't be read: {e}"))?;
            roots.add(certificate).map_err(|e| format!("sslrootcert `{path}`: {e}"))?;
        }
    } else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tokio_postgres_rustls::MakeRustlsConnect::new(config))
}
