//! The real executor: what a job needs to be worked on, made from this machine. A repository that no
//! environment can reach, a work tree that one can, the environment itself, and its doors.
//!
//! What lies in the state folder:
//!
//! ```text
//! mirrors/<project>.git     one mirror per project, shared by its jobs, kept
//! repositories/<job>.git    a job's checkpoints, kept until the job ends
//! prepared/<key>/           a prepared tree or a snapshot, copied for each environment, kept while
//!                           there is room
//! trees/<environment>/      a work tree, gone with its environment
//! kept/<environment>/       an environment that lives by itself: work tree, its work as commits, log
//! environments/             the supervisor's own
//! containers/               the same for containers of an engine
//! images/                   unpacked images, and what was made of them, without an engine
//! features/                 Features of Dev Containers that were fetched
//! volumes/                  what environments of a project leave to each other
//! ```

pub(crate) mod agent;
mod backend;
mod base;
mod beside;
pub(crate) mod checkpoint;
mod command;
mod committed;
pub(crate) mod disk;
mod dockerfile;
mod doors;
pub(crate) mod environment;
mod facts;
mod features;
mod left;
mod limits;
mod outputs;
pub(crate) mod place;
mod pools;
mod publish;
mod readiness;
pub(crate) mod repository;
pub(crate) mod secrets;
pub(crate) mod services;
pub(crate) mod setup;
pub(crate) mod stocked;
pub(crate) mod trees;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use windlass_gateway::upstream;
use windlass_git::{Git, Mirror, Remote};
use windlass_policy::redact::{MIN_SECRET, Redactor};
use windlass_run::JobId;
use windlass_sandbox::Backend;

use crate::{
    executor::{Executor, Unopened, Work},
    job::Job,
    options::Options,
    runner::Error,
    stock::{Maker, Pool, Store},
    volumes::Volumes,
};

use self::place::{Place, Shared};

/// The ports of the doors inside.
pub(crate) const PORTS: [u16; 3] = [doors::NAMES[0].1, doors::NAMES[1].1, doors::NAMES[2].1];

/// How many bytes of Features are kept.
const FEATURES: u64 = 512 << 20;
/// How often the pool is looked after when nothing starts.
const TEND: std::time::Duration = std::time::Duration::from_secs(20);

/// Makes places to work in.
pub(crate) struct Workshop {
    pub(crate) options: Options,
    git: Git,
    /// For repositories on the server itself, where its certificate is pinned.
    server_git: Git,
    /// Reaches model providers and forges, for the doors.
    upstream: reqwest::Client,
    /// How the web door checks those that it sends a credential to.
    tls: Option<Arc<rustls::ClientConfig>>,
    connection: backend::Connection,
    /// What Dockerfiles were built to, so that their files are read once.
    built: dockerfile::Built,
    /// The Features of Dev Containers that are here.
    artifacts: windlass_image::Artifacts,
    store: Store,
    volumes: Volumes,
    maker: Maker,
    pool: Pool,
    /// What environments in it hold.
    costs: pools::Costs,
    /// The mirrors that are being refreshed, and the tasks that do it.
    refreshing: Mutex<BTreeSet<PathBuf>>,
    beside: TaskTracker,
    stopping: CancellationToken,
}

impl Workshop {
    /// Sets up shop: connects to the backend (starting its supervisor if there is none) and removes whatever an
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
        let (prepared, bytes) = (options.state_dir.join("prepared"), options.stock.bytes);
        let store = tokio::task::spawn_blocking(move || Store::open(&prepared, bytes)).await;
        let store = store.map_err(std::io::Error::other).flatten().map_err(|error| {
            Error::State { doing: "open the folder of prepared trees".to_owned(), error }
        })?;
        let features = backend::image_options(&options, "features", FEATURES).await;
        let opened = move || windlass_image::Artifacts::open(features);
        let opened = tokio::task::spawn_blocking(opened).await.map_err(std::io::Error::other);
        let artifacts =
            opened.and_then(|opened| opened.map_err(std::io::Error::other)).map_err(|error| {
                Error::State { doing: "open the folder of Features".to_owned(), error }
            })?;
        tracing::info!(
            copies = store.copies_by().describe(),
            "work trees are copied from prepared ones"
        );
        let volumes = Volumes::open(&options.state_dir, store.copies_by()).map_err(|error| {
            Error::State { doing: "open the folder of volumes".to_owned(), error }
        })?;
        let maker = Maker::new(&options.state_dir.join("trees"), store.copies_by());
        let pool = Pool::new(maker.clone(), options.stock.pool);
        let workshop = Self {
            git: git(options.ca_bundle.clone()),
            server_git: git(server_certificate.or_else(|| options.ca_bundle.clone())),
            upstream,
            tls,
            connection: backend::Connection::default(),
            built: Mutex::default(),
            artifacts,
            store,
            volumes,
            maker,
            pool,
            costs: pools::Costs::default(),
            refreshing: Mutex::default(),
            beside: TaskTracker::new(),
            stopping: CancellationToken::new(),
            options,
        };
        workshop.git.version().await.map_err(|error| Error::Refused(error.to_string()))?;
        workshop.sweep().await?;
        Ok(workshop)
    }

    /// Removes what an earlier runner of this folder left behind.
    async fn sweep(&self) -> Result<(), Error> {
        let failed = |error: windlass_sandbox::Error| Error::Environments(error.to_string());
        let backend = self.backend().await.map_err(failed)?;
        for listed in backend.list().await.map_err(failed)? {
            // Those that live by themselves are their keepers' to judge.
            if self.kept_folder(listed.id.as_str()).exists() {
                continue;
            }
            tracing::info!(environment = %listed.id, "removing an environment that an earlier runner left");
            backend.destroy(&listed.id).await.map_err(failed)?;
        }
        backend.sweep().await.map_err(failed)?;
        trees::remove_all(&self.options.state_dir.join("trees")).await;
        let mirrors = self.options.state_dir.join("mirrors");
        let swept = Mirror::sweep(&mirrors).await.map_err(|error| Error::State {
            doing: "sweep the mirrors".to_owned(),
            error: std::io::Error::other(error),
        })?;
        if swept > 0 {
            tracing::info!(swept, "removed what an earlier runner left half made of mirrors");
        }
        trees::remove_old(&self.options.state_dir.join("repositories"), (self.options.clock)())
            .await;
        Ok(())
    }

    /// Where everything of an environment that lives by itself is kept.
    pub(crate) fn kept_folder(&self, id: &str) -> PathBuf {
        self.options.state_dir.join("kept").join(id)
    }

    /// What environments are made by; connected to anew if the connection broke.
    pub(crate) async fn backend(&self) -> windlass_sandbox::Result<Arc<dyn Backend>> {
        self.connection.get(&self.options).await
    }

    /// The connection broke: the next caller makes a new one.
    pub(crate) fn backend_is_gone(&self) {
        self.connection.is_gone();
        // With it went every environment.
        self.pool.clear();
    }

    /// Takes down what nobody asks for any more, from time to time.
    pub(crate) fn tend_pool(self: &Arc<Self>) {
        let workshop = self.clone();
        self.beside.spawn(async move {
            let mut turns = tokio::time::interval(TEND);
            loop {
                tokio::select! {
                    _ = turns.tick() => {}
                    () = workshop.stopping.cancelled() => return,
                }
                if let Some(backend) = workshop.connection.current() {
                    workshop.pool.refill(&backend, std::time::Instant::now());
                    workshop.costs.measure(&workshop.pool, &*backend).await;
                }
            }
        });
    }

    /// Brings a mirror up to date beside whatever else is to be done, unless that is being done.
    fn refresh_beside(self: &Arc<Self>, mirror: Mirror, remote: Remote) {
        let place = mirror.repository().dir().to_owned();
        let turn =
            self.refreshing.lock().unwrap_or_else(PoisonError::into_inner).insert(place.clone());
        if !turn {
            return;
        }
        let workshop = self.clone();
        self.beside.spawn(async move {
            let stopped = workshop.stopping.cancelled();
            tokio::select! {
                refreshed = mirror.refresh(&remote) => {
                    if let Err(error) = refreshed {
                        tracing::debug!(%error, mirror = %place.display(), "a mirror could not be refreshed in the background");
                    }
                }
                () = stopped => {}
            }
            workshop.refreshing.lock().unwrap_or_else(PoisonError::into_inner).remove(&place);
        });
    }

    /// The git that trusts whoever serves this address.
    fn git_for(&self, url: &str) -> &Git {
        if url.starts_with(&self.options.server_url) { &self.server_git } else { &self.git }
    }

    /// Finds every secret that a job could meet.
    fn redactor(&self, job: &Job, given: &secrets::Secrets) -> Redactor {
        self.redactor_of(job.repository.as_ref(), given.seen())
    }

    /// Finds the runner's own secrets, a repository's credential and what else is given.
    pub(crate) fn redactor_of<'a>(
        &'a self,
        repository: Option<&'a windlass_wire::runner::Repository>,
        given: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Redactor {
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
        if let Some(repository) = repository {
            secrets.push(("repository-credential", repository.credential.as_bytes()));
        }
        secrets.extend(given);
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
            Ok(Box::new(Shared::new(place)) as Box<dyn Work>)
        })
    }

    fn forget(&self, job_id: JobId) -> BoxFuture<'_, ()> {
        let repository = repository::dir(&self.0.options.state_dir, &job_id);
        Box::pin(async move { trees::remove(&repository).await })
    }

    fn pools(&self) -> Vec<windlass_wire::runner::ProjectPool> {
        self.0.costs.told(&self.0.pool)
    }

    fn shut(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.0.stopping.cancel();
            self.0.beside.close();
            self.0.beside.wait().await;
            self.0.pool.close().await;
            self.0.maker.ended().await;
            self.0.connection.shut().await;
        })
    }
}
