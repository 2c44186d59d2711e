//! A server in this process and a runner beside it as a process of its own: `windlass up`, and the
//! verbs that need one for as long as they take.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use windlass_run::{Duration as Span, environment::Limits};
use windlass_server::{Handle, Server, StartError, Tls};
use windlass_store::{Error as StoreError, Store, identity::SecretHash};
use windlass_wire::api::account::Role;

use crate::{
    arguments::RunnerOptions,
    client::Client,
    settings::{self, Connection, Settings},
};

use super::runner::now;

/// What is started.
pub(crate) struct Options {
    /// The address to listen on.
    pub(crate) listen: SocketAddr,
    /// The address for SSH; absent: no SSH.
    pub(crate) ssh: Option<SocketAddr>,
    /// The database; absent means SQLite in the data folder.
    pub(crate) database: Option<String>,
    /// Serve HTTPS.
    pub(crate) tls: bool,
    /// How long a lease lasts without a heartbeat, where it is not the usual.
    pub(crate) lease_seconds: Option<u32>,
    /// Where to write what the store did, at the end.
    pub(crate) stats_file: Option<PathBuf>,
    /// The runner; absent means none.
    pub(crate) runner: Option<RunnerOptions>,
    /// Where agents are installed; absent means the data folder.
    pub(crate) agents_dir: Option<PathBuf>,
    /// How many environments that live by themselves there may be.
    pub(crate) environment_limits: Limits,
    /// How long an environment stays stopped before it is archived; absent: it never is.
    pub(crate) archive_after: Option<Span>,
    /// How ports of environments are published.
    pub(crate) ports: windlass_server::ports::Options,
}

/// A server that runs, perhaps with a runner.
pub(crate) struct Embedded {
    handle: Handle,
    store: Store,
    connection: Connection,
    sign_in_link: String,
    stats_file: Option<PathBuf>,
    runner: Option<JoinHandle<()>>,
    stop_runner: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Embedded {
    /// Starts both.
    pub(crate) async fn start(settings: &Settings, options: Options) -> Result<Self> {
        let lease_ttl = Span::from_secs(i64::from(options.lease_seconds.unwrap_or(30)));
        let store = open(settings, options.database.as_deref(), lease_ttl).await?;
        // A name of its own for each published port.
        let names = vec![format!("*.{}", options.ports.host.as_deref().unwrap_or("localhost"))];
        let tls = if options.tls { Tls::SelfMade { names } } else { Tls::Off };
        let server = windlass_server::Options {
            tls,
            ssh: options.ssh,
            clock: Arc::new(now),
            lease_ttl,
            environment_limits: options.environment_limits,
            archive_after: options.archive_after,
            ports: options.ports,
            ..windlass_server::Options::new(options.listen, &settings.data_dir)
        };
        let handle = match Server::start(store.clone(), server).await {
            Ok(handle) => handle,
            Err(e) => {
                store.close().await;
                let taken = matches!(&e, StartError::Listen(_));
                let error = anyhow::Error::new(e).context("failed to start the server");
                return Err(if taken { error.context(LISTEN_HELP) } else { error });
            }
        };
        let connection = connect(settings, &handle, &store).await?;
        let link = handle.sign_in_link(true).await.context("failed to make a sign-in link")?;
        let mut embedded = Self {
            sign_in_link: link.unwrap_or_else(|| handle.url().to_owned()),
            handle,
            store,
            connection,
            stats_file: options.stats_file,
            runner: None,
            stop_runner: None,
        };
        if let Some(runner) = options.runner {
            embedded.start_runner(settings, &runner, options.agents_dir.as_deref()).await?;
        }
        Ok(embedded)
    }

    /// Where the server is.
    pub(crate) fn url(&self) -> &str {
        self.handle.url()
    }

    /// Signs the admin in, once.
    pub(crate) fn sign_in_link(&self) -> &str {
        &self.sign_in_link
    }

    /// The SHA-256 of the certificate, under TLS.
    pub(crate) fn certificate(&self) -> Option<&str> {
        self.handle.fingerprint()
    }

    /// Speaks to the server.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::new(self.connection.clone())
    }

    /// Waits until somebody wants this process to end.
    pub(crate) async fn until_interrupted(&self) -> Result<()> {
        interrupted().await
    }

    /// Ends the runner, then the server, in good order.
    pub(crate) async fn stop(self) -> Result<()> {
        if let Some(stop) = self.stop_runner {
            let _ = stop.send(());
        }
        if let Some(runner) = self.runner {
            let _ = runner.await;
        }
        let stats = self.store.stats();
        self.handle.stop().await;
        self.store.close().await;
        if let Some(file) = self.stats_file {
            let stats = serde_json::json!({
                "commands": stats.commands,
                "commits": stats.commits,
                "fsyncs": stats.fsyncs,
                "replays": stats.replays,
            });
            std::fs::write(&file, stats.to_string())
                .with_context(|| format!("failed to write {}", file.display()))?;
        }
        Ok(())
    }

    async fn start_runner(
        &mut self,
        settings: &Settings,
        options: &RunnerOptions,
        agents_dir: Option<&Path>,
    ) -> Result<()> {
        let token_file = settings.data_dir.join("runner-token");
        // A token is good for one runner: one that has lost its folder is another.
        let is_known = settings.data_dir.join("runner/runner.json").exists();
        if !is_known || !is_valid(&self.store, &token_file).await {
            let token = self.handle.issue_token("this machine's runner", Role::Runner).await?;
            settings::write_private(&token_file, token.expose().as_bytes())?;
        }
        let windlass = std::env::current_exe().context("failed to find this program's own file")?;
        let mut arguments = vec!["--data-dir".into(), settings.data_dir.clone().into_os_string()];
        arguments
            .extend(["runner", "--until-closed", "--server", self.handle.url()].map(Into::into));
        arguments.extend(["--token-file".into(), token_file.into_os_string()]);
        if let Some(fingerprint) = self.handle.fingerprint() {
            arguments.extend(["--certificate", fingerprint].map(Into::into));
        }
        if let Some(folder) = agents_dir {
            arguments.extend(["--agents-dir".into(), folder.into()]);
        }
        arguments.extend(options.as_arguments());
        let start = move || {
            Command::new(&windlass)
                .args(&arguments)
                .env_remove("WINDLASS_TOKEN")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .context("failed to start the runner")
        };
        let first = start()?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        self.stop_runner = Some(stop);
        self.runner = Some(tokio::spawn(keep_running(first, start, stopped)));
        Ok(())
    }
}

const LISTEN_HELP: &str =
    "choose another address with --listen, or add --tls for one that others reach";

/// Starts the runner again whenever it dies, more slowly each time, until it is told to stop.
async fn keep_running(
    first: Child,
    start: impl Fn() -> Result<Child>,
    mut stopped: tokio::sync::oneshot::Receiver<()>,
) {
    let mut child = first;
    // Waiting for a child closes the standard input that it still has, so ours is kept apart.
    let mut lifeline = child.stdin.take();
    let mut pause = Duration::from_millis(250);
    loop {
        tokio::select! {
            _ = &mut stopped => {
                // Closing its standard input asks it to give its jobs back and end.
                drop(lifeline.take());
                let _ = child.wait().await;
                return;
            }
            ended = child.wait() => {
                tracing::warn!(?ended, "the runner ended; starting it again");
                tokio::select! {
                    _ = &mut stopped => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(Duration::from_secs(30));
                match start() {
                    Ok(next) => {
                        child = next;
                        lifeline = child.stdin.take();
                    }
                    Err(e) => tracing::error!("{e:#}"),
                }
            }
        }
    }
}

async fn open(settings: &Settings, database: Option<&str>, lease_ttl: Span) -> Result<Store> {
    let url = match database {
        Some(url) => url.to_owned(),
        None => format!("sqlite:{}", settings.data_dir.join("windlass.db").display()),
    };
    let mut options = windlass_store::Options::new(settings.data_dir.join("blobs"), now());
    options.lease_ttl = lease_ttl;
    Store::open(&url, options).await.map_err(|e| {
        let locked = matches!(e, StoreError::Locked { .. });
        let error = anyhow::Error::new(e).context("failed to open the database");
        if locked {
            error.context("another server works on this data: stop it, or name another --data-dir")
        } else {
            error
        }
    })
}

/// Writes down how commands on this machine reach the server.
async fn connect(settings: &Settings, handle: &Handle, store: &Store) -> Result<Connection> {
    let known = settings.connection().map(|known| known.token);
    let valid = match &known {
        Some(token) => matches!(store.token(SecretHash::of(token), now()).await, Ok(Some(_))),
        None => false,
    };
    let token = match known.filter(|_| valid) {
        Some(token) => token,
        None => {
            let fresh = handle.issue_token("this machine's command line", Role::Admin).await?;
            fresh.expose().to_owned()
        }
    };
    let connection = Connection {
        url: handle.url().to_owned(),
        token,
        certificate: handle.fingerprint().map(ToOwned::to_owned),
    };
    settings.write_connection(&connection)?;
    Ok(connection)
}

async fn is_valid(store: &Store, token_file: &Path) -> bool {
    match settings::read_secret(token_file) {
        Ok(token) => matches!(store.token(SecretHash::of(&token), now()).await, Ok(Some(_))),
        Err(_) => false,
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to wait for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
