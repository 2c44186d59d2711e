//! The real executor: what a job needs to be worked on, made from this machine. A repository that no
//! environment can reach, a work tree that one can, the environment itself, and its doors.
//!
//! What lies in the state folder:
//!
//! ```text
//! mirrors/<project>.git     one mirror per project, shared by its jobs, kept
//! repositories/<job>.git    a job's checkpoints, kept until the job ends
//! trees/<environment>/      a work tree, gone with its environment
//! environments/             the supervisor's own
//! ```

pub(crate) mod agent;
mod checkpoint;
mod command;
mod committed;
mod doors;
mod environment;
mod facts;
mod place;
mod publish;
mod readiness;
mod repository;
mod secrets;
mod services;
mod setup;
mod trees;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::future::BoxFuture;
use windlass_gateway::upstream;
use windlass_git::Git;
use windlass_policy::redact::{MIN_SECRET, Redactor};
use windlass_run::JobId;
use windlass_sandbox::Client;

use crate::{
    executor::{Executor, Unopened, Work},
    job::Job,
    options::Options,
    runner::Error,
};

use self::place::Place;

/// The ports of the doors inside.
pub(crate) const PORTS: [u16; 3] = [doors::NAMES[0].1, doors::NAMES[1].1, doors::NAMES[2].1];

/// Makes places to work in.
pub(crate) struct Workshop {
    options: Options,
    git: Git,
    /// For repositories on the server itself, where its certificate is pinned.
    server_git: Git,
    /// Reaches model providers and forges, for the doors.
    upstream: reqwest::Client,
    /// How the web door checks those that it sends a credential to.
    tls: Option<Arc<rustls::ClientConfig>>,
    supervisor: Mutex<Option<Client>>,
    serial: AtomicU64,
}

impl Workshop {
    /// Sets up shop: connects to the supervisor (starting it if there is none) and removes whatever an
    /// earlier runner left.
    pub(crate) async fn open(
        options: Options,
        server_certificate: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let bundle = match &options.ca_bundle {
            Some(path) => tokio::fs::read(path).await.map_err(|error| Error::State {
                doing: format!("read the CA bundle {}", path.display()),
                error,
            })?,
            None => Vec::new(),
        };
        // Without certificates no credential is sent over TLS; everything else works.
        let tls = upstream::tls(&bundle).ok();
        let upstream = upstream::Options { certificates: bundle, ..upstream::Options::default() };
        let upstream =
            upstream::client(&upstream).map_err(|error| Error::Refused(error.to_string()))?;
        let git = |ca_file: Option<PathBuf>| {
            Git::new(windlass_git::Options { ca_file, ..Default::default() })
        };
        let workshop = Self {
            git: git(options.ca_bundle.clone()),
            server_git: git(server_certificate.or_else(|| options.ca_bundle.clone())),
            upstream,
            tls,
            supervisor: Mutex::new(None),
            serial: AtomicU64::new(0),
            options,
        };
        workshop.git.version().await.map_err(|error| Error::Refused(error.to_string()))?;
        workshop.sweep().await?;
        Ok(workshop)
    }

    /// Removes what an earlier runner of this folder left behind.
    async fn sweep(&self) -> Result<(), Error> {
        let failed = |error: windlass_sandbox::Error| Error::Environments(error.to_string());
        let supervisor = self.supervisor().await.map_err(failed)?;
        for listed in supervisor.list().await.map_err(failed)? {
            tracing::info!(environment = %listed.id, "removing an environment that an earlier runner left");
            supervisor.destroy(&listed.id).await.map_err(failed)?;
        }
        trees::remove_all(&self.options.state_dir.join("trees")).await;
        trees::remove_old(&self.options.state_dir.join("repositories"), (self.options.clock)())
            .await;
        Ok(())
    }

    /// The connection to the supervisor, made anew if it broke.
    async fn supervisor(&self) -> windlass_sandbox::Result<Client> {
        if let Some(client) = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).clone()
        {
            return Ok(client);
        }
        let state_dir = self.options.state_dir.join("environments");
        let mut argv = self.options.supervisor_argv.clone();
        argv.push(state_dir.clone().into_os_string());
        let connect = move || Client::spawn_or_connect(&state_dir, &argv);
        let connected = tokio::task::spawn_blocking(connect).await;
        let client = connected
            .map_err(|error| windlass_sandbox::Error::Disconnected { why: error.to_string() })??;
        *self.supervisor.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }

    /// The connection broke: the next caller makes a new one.
    fn supervisor_is_gone(&self) {
        *self.supervisor.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A number that no other environment of this process has.
    fn serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The git that trusts whoever serves this address.
    fn git_for(&self, url: &str) -> &Git {
        if url.starts_with(&self.options.server_url) { &self.server_git } else { &self.git }
    }

    /// Finds every secret that a job could meet.
    fn redactor(&self, job: &Job, given: &secrets::Secrets) -> Redactor {
        let mut secrets = vec![("runner-token", self.options.token.expose().as_bytes())];
        let providers = &self.options.providers;
        for (name, provider) in [
            ("anthropic-key", &providers.anthropic),
            ("openai-key", &providers.openai),
            ("gemini-key", &providers.gemini),
        ] {
            let key = provider.as_ref().and_then(|provider| provider.key.as_ref());
            secrets.extend(key.map(|key| (name, key.expose().as_bytes())));
        }
        if let Some(repository) = &job.repository {
            secrets.push(("repository-credential", repository.credential.as_bytes()));
        }
        secrets.extend(given.seen());
        secrets.retain(|(_, secret)| secret.len() >= MIN_SECRET);
        Redactor::new(secrets).unwrap_or_else(|_| Redactor::nothing())
    }
}

/// The executor over a shared workshop.
pub(crate) struct Worker(pub(crate) Arc<Workshop>);

impl Executor for Worker {
    fn open(&self, job: Arc<Job>) -> BoxFuture<'_, Result<Box<dyn Work>, Unopened>> {
        let workshop = self.0.clone();
        Box::pin(async move {
            let place = Place::open(workshop, job).await?;
            Ok(Box::new(place) as Box<dyn Work>)
        })
    }

    fn forget(&self, job_id: JobId) -> BoxFuture<'_, ()> {
        let repository = repository::dir(&self.0.options.state_dir, &job_id);
        Box::pin(async move { trees::remove(&repository).await })
    }

    fn shut(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let client = self.0.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(client) = client
                && let Err(error) = client.shutdown().await
            {
                tracing::debug!(%error, "the supervisor of environments had ended already");
            }
        })
    }
}
