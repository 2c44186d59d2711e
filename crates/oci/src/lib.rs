//! The backend `oci`: environments in containers of Docker or Podman, over their Engine API.
//!
//! The engine makes the container: its image, namespaces, control groups, mounts. Everything that
//! happens *in* it goes through our own supervisor as the container's first process
//! ([`windlass_sandbox::contained`]), reached by a socket in a folder that only root can enter: exact
//! arguments, operations that never run twice, output that outlives the caller, doors, and the proof of
//! every layer are the same as with the backend `process`.
//!
//! Kept apart from `sandbox`, whose supervisor has one thread: here is tokio. What may never happen here:
//! a container with a network, a capability for programs, or a mount that the plan does not name; a
//! credential in a label, a log or an argument.
//!
//! Modules in reading order: [`engine`] finds and greets the engine; `container` turns a plan into a
//! container; `companion` starts others beside it; `image` pulls, builds and prunes; `extend` adds to images.

pub mod engine;

mod companion;
mod container;
mod context;
mod extend;
mod image;

use std::{
    collections::HashMap,
    net::TcpStream,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bollard::{
    Docker,
    query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder},
};
use windlass_sandbox::{
    Backend, Base, Capabilities, Client, Created, EnvironmentId, Error, Exec, Image, Isolation,
    Listed, OperationId, Plan, Prepared, Result, Size, Started, State, Status, User,
    backend::{Answer, Companion, Hear, Output, Recipe, Serve, Standing, Tell, read_spool},
};

use self::engine::failed;

/// How long an image that was asked for stays, whether or not a container uses it.
const STAYS: Duration = Duration::from_secs(15 * 60);

/// How this backend is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The engine's socket: `/var/run/docker.sock`, `/run/podman/podman.sock`.
    pub socket: PathBuf,
    /// The folder for homes, sockets and spools of its environments. Its path must be the same for the
    /// engine.
    pub state_dir: PathBuf,
    /// The program that becomes the first process: one that calls
    /// [`windlass_sandbox::contained::serve`] with its arguments after those of `helper_arguments`. It is
    /// shown inside together with the libraries that it loads, so any image will do.
    pub helper: PathBuf,
    /// What it is called with first.
    pub helper_arguments: Vec<String>,
    /// How long a container outlives its last caller.
    pub orphan_grace: Duration,
    /// How many bytes the images may take that were built here.
    pub image_bytes: u64,
}

/// The backend. Its methods must be awaited on a tokio runtime. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Oci {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    docker: Docker,
    options: Options,
    /// Tells the containers of this state folder from all others.
    owner: String,
    clients: Mutex<HashMap<EnvironmentId, Client>>,
    /// The accounts of images, by id: an id stands for the same ones for ever.
    accounts: Mutex<HashMap<String, Vec<User>>>,
    /// When images were asked for, by id.
    asked: Mutex<HashMap<String, Instant>>,
    /// Until when the words of companions were heard, by the container's name.
    heard: Mutex<HashMap<String, String>>,
}

impl Oci {
    /// Connects to the engine and sees that it can be used.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Build`] with what to do when no engine answers, it is too old, or this
    /// user could not work with what its containers leave.
    pub async fn connect(options: Options) -> Result<Self> {
        let docker = engine::connect(&options.socket).await?;
        let state_dir = engine::prepare_state_dir(&options.state_dir)?;
        let owner = engine::owner(&state_dir);
        let options = Options { state_dir, ..options };
        let (clients, accounts, asked, heard) = Default::default();
        let inner = Inner { docker, options, owner, clients, accounts, asked, heard };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Removes images that this backend built and that no container uses until the rest takes `bytes` at
    /// most, the oldest first, but for those to keep, by their definitions or ids. Answers how many.
    ///
    /// # Errors
    /// [`Error::Build`] with the engine's answer.
    pub async fn prune_images(&self, bytes: u64, keep: &[String]) -> Result<usize> {
        image::prune(&self.inner.docker, bytes, keep).await
    }

    /// Makes room after something was built. What goes wrong is told: the image is there all the same.
    async fn make_room(&self) {
        let (bytes, lately) = (self.inner.options.image_bytes, self.inner.lately());
        match self.prune_images(bytes, &lately).await {
            Ok(0) => {}
            Ok(n) => tracing::info!(n, "images were removed to make room"),
            Err(error) => tracing::warn!(%error, "images could not be removed to make room"),
        }
    }
}

impl Inner {
    fn folder(&self, id: &EnvironmentId) -> PathBuf {
        self.options.state_dir.join(id.as_str())
    }

    fn name(&self, id: &EnvironmentId) -> String {
        format!("windlass-{}-{id}", self.owner)
    }

    /// The connection to an environment's own supervisor.
    async fn client(&self, id: &EnvironmentId) -> Result<Client> {
        let known = self.clients.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if let Some(client) = known {
            return Ok(client);
        }
        let state = self.folder(id).join(container::STATE);
        if !state.is_dir() {
            return Err(Error::NotFound { what: format!("environment {id}") });
        }
        let client = blocking(move || Client::connect(&state)).await?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(clients.entry(id.clone()).or_insert(client).clone())
    }

    /// The images that somebody asked for a short while ago, and may be about to use.
    fn lately(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, when| when.elapsed() < STAYS);
        asked.keys().cloned().collect()
    }

    /// Finds out which accounts an image has.
    async fn with_accounts(&self, prepared: Prepared) -> Result<Prepared> {
        let asked = (prepared.name.clone(), Instant::now());
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).extend([asked]);
        let lock = || self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&prepared.name).cloned();
        let accounts = match known {
            Some(accounts) => accounts,
            None => {
                let accounts = extend::accounts(&self.docker, &prepared.name).await?;
                lock().insert(prepared.name.clone(), accounts.clone());
                accounts
            }
        };
        Ok(Prepared { accounts, ..prepared })
    }

    fn part_with(&self, id: &EnvironmentId) {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Says what became of an environment whose supervisor does not answer any more.
    async fn explain(&self, id: &EnvironmentId, error: Error) -> Error {
        if !matches!(error, Error::Disconnected { .. }) {
            return error;
        }
        self.part_with(id);
        let found = self.docker.inspect_container(&self.name(id), None).await;
        let state = match found {
            Ok(found) => found.state.unwrap_or_default(),
            Err(error) if engine::is_not_found(&error) => {
                return Error::NotFound { what: format!("environment {id}") };
            }
            Err(error) => return failed("look at a container", &error),
        };
        let why = if state.oom_killed == Some(true) {
            "its container ran out of memory".to_owned()
        } else if state.running == Some(true) {
            format!("its container runs, but {error}")
        } else {
            format!("its container ended with code {}", state.exit_code.unwrap_or(-1))
        };
        Error::Disconnected { why }
    }

    /// Asks the environment's supervisor something.
    async fn ask<T, F>(
        &self,
        id: &EnvironmentId,
        question: impl FnOnce(Client) -> F + Send,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let result = match self.client(id).await {
            Ok(client) => question(client).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.explain(id, error).await),
        }
    }

    /// Removes what runs beside it, the container, then what it left on disk.
    async fn destroy(&self, id: &EnvironmentId) -> Result<()> {
        self.part_with(id);
        self.dismiss_all(Some(id), &[]).await?;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(&self.name(id), Some(options)).await {
            Ok(()) => {}
            Err(error) if engine::is_not_found(&error) => {}
            Err(error) => return Err(failed("remove a container", &error)),
        }
        self.remove_folder(id).await
    }

    async fn remove_folder(&self, id: &EnvironmentId) -> Result<()> {
        let folder = self.folder(id);
        blocking(move || {
            windlass_sandbox::remove_folder(&folder).map_err(|error| Error::Io {
                doing: format!("remove {}", folder.display()),
                why: error.to_string(),
            })
        })
        .await
    }

    /// Our environments' containers.
    async fn containers(&self) -> Result<Vec<Found>> {
        let mut found = self.found().await?;
        found.retain(|one| one.companion.is_none());
        Ok(found)
    }

    /// Our containers, with those beside environments.
    async fn found(&self) -> Result<Vec<Found>> {
        let filters = HashMap::from([("label", vec![format!("{}={}", engine::OWNER, self.owner)])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = self
            .docker
            .list_containers(Some(options))
            .await
            .map_err(|error| failed("list containers", &error))?;
        Ok(found
            .into_iter()
            .filter_map(|summary| {
                let labels = summary.labels.unwrap_or_default();
                Some(Found {
                    id: EnvironmentId::parse(labels.get(engine::ENVIRONMENT)?).ok()?,
                    running: summary.state.is_some_and(|state| state.to_string() == "running"),
                    user_id: labels.get(engine::USER).and_then(|id| id.parse().ok()),
                    companion: labels.get(engine::COMPANION).cloned(),
                })
            })
            .collect())
    }

    async fn list(&self) -> Result<Vec<Listed>> {
        let mut list = Vec::new();
        for found in self.containers().await? {
            let inspected = self.docker.inspect_container(&self.name(&found.id), None).await;
            let pid = inspected.ok().and_then(|found| found.state?.pid).unwrap_or(0);
            let inside = match found.running {
                true => self.ask(&found.id, |client| async move { client.list().await }).await,
                false => Ok(Vec::new()),
            };
            let inside = inside.unwrap_or_default().into_iter().next();
            list.push(Listed {
                id: found.id,
                pid: u32::try_from(pid).unwrap_or(0),
                ready: inside.as_ref().is_some_and(|inside| inside.ready),
                report: inside.as_ref().and_then(|inside| inside.report.clone()),
                operations: inside.map(|inside| inside.operations).unwrap_or_default(),
            });
        }
        Ok(list)
    }

    /// Removes containers that ended by themselves, and what runs or lies beside none: other containers,
    /// volumes, folders.
    async fn sweep(&self) -> Result<usize> {
        let containers = self.containers().await?;
        let mut swept = 0;
        for found in containers.iter().filter(|found| !found.running) {
            self.destroy(&found.id).await?;
            swept += 1;
        }
        let running = containers.iter().filter(|found| found.running);
        let keep: Vec<EnvironmentId> = running.map(|found| found.id.clone()).collect();
        swept += self.dismiss_all(None, &keep).await?;
        let entries = std::fs::read_dir(&self.options.state_dir).map_err(|error| Error::Io {
            doing: format!("list {}", self.options.state_dir.display()),
            why: error.to_string(),
        })?;
        for entry in entries.flatten() {
            let Ok(id) = EnvironmentId::parse(&entry.file_name().to_string_lossy()) else {
                continue;
            };
            if !containers.iter().any(|found| found.id == id) {
                self.remove_folder(&id).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

/// A container of ours.
#[derive(Debug)]
struct Found {
    /// The environment's name.
    id: EnvironmentId,
    running: bool,
    user_id: Option<u32>,
    /// Its name beside the environment, if it isn't the environment's own container.
    companion: Option<String>,
}

impl Backend for Oci {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "oci",
            isolation: Isolation::ContainerEngine,
            doors: true,
            host_base: false,
            images: true,
            companions: true,
        }
    }

    fn prepare<'a>(&'a self, base: &'a Base, tell: Tell<'a>) -> Answer<'a, Prepared> {
        Box::pin(async move {
            match base {
                Base::Image(wanted) => {
                    let prepared = image::prepare(&self.inner.docker, wanted, tell).await?;
                    let prepared = self.inner.with_accounts(prepared).await?;
                    if matches!(wanted, Image::Built { .. }) {
                        self.make_room().await;
                    }
                    Ok(prepared)
                }
                Base::Host | Base::Empty => Err(Error::InvalidPlan {
                    why: "the backend `oci` needs an image: name one in devcontainer.json (`image` or \
                          `build`), start the runner with `--image NAME`, or choose the backend `process`"
                        .to_owned(),
                }),
            }
        })
    }

    fn extend<'a>(
        &'a self,
        below: &'a Prepared,
        recipe: &'a Recipe,
        _serve: Serve<'a>,
        tell: Tell<'a>,
    ) -> Answer<'a, Prepared> {
        Box::pin(async move {
            let made = extend::extend(&self.inner.docker, below, recipe, tell).await?;
            let made = self.inner.with_accounts(made).await?;
            self.make_room().await;
            Ok(made)
        })
    }

    fn create<'a>(&'a self, plan: &'a Plan, prepared: &'a Prepared) -> Answer<'a, Created> {
        Box::pin(self.inner.create(plan, prepared))
    }

    fn adopt<'a>(&'a self, id: &'a EnvironmentId) -> Answer<'a, Created> {
        Box::pin(self.inner.ask(id, move |client| async move { client.adopt(id).await }))
    }

    fn exec<'a>(&'a self, id: &'a EnvironmentId, exec: &'a Exec) -> Answer<'a, Started> {
        Box::pin(self.inner.ask(id, move |client| async move {
            let started = client.exec(id, exec).await?;
            let spool = match started.spool {
                Some(_) => Some(client.spool_path(id, &exec.operation)?),
                None => None,
            };
            Ok(Started { spool, ..started })
        }))
    }

    fn wait<'a>(&'a self, id: &'a EnvironmentId, operation: &'a OperationId) -> Answer<'a, Status> {
        Box::pin(async move {
            let asked = move |client: Client| async move { client.wait(id, operation).await };
            match self.inner.ask(id, asked).await {
                Err(Error::Disconnected { why }) => Ok(Status {
                    state: State::Lost { why },
                    spool_bytes: 0,
                    dropped_bytes: 0,
                    out_of_processes: false,
                }),
                other => other,
            }
        })
    }

    fn output<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
        after: u64,
    ) -> Answer<'a, Output> {
        Box::pin(self.inner.ask(id, move |client| async move {
            let status = client.output(id, operation, after).await?;
            read_spool(&client.spool_path(id, operation)?, after, status)
        }))
    }

    fn status<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
    ) -> Answer<'a, Status> {
        Box::pin(
            self.inner.ask(id, move |client| async move { client.status(id, operation).await }),
        )
    }

    fn signal<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
        signal: i32,
    ) -> Answer<'a, ()> {
        Box::pin(
            self.inner
                .ask(id, move |client| async move { client.signal(id, operation, signal).await }),
        )
    }

    fn resize<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
        size: Size,
    ) -> Answer<'a, ()> {
        Box::pin(
            self.inner
                .ask(id, move |client| async move { client.resize(id, operation, size).await }),
        )
    }

    fn dial<'a>(&'a self, id: &'a EnvironmentId, port: u16) -> Answer<'a, TcpStream> {
        Box::pin(self.inner.ask(id, move |client| async move { client.dial(id, port).await }))
    }

    fn kill<'a>(&'a self, id: &'a EnvironmentId, operation: &'a OperationId) -> Answer<'a, ()> {
        Box::pin(self.inner.ask(id, move |client| async move { client.kill(id, operation).await }))
    }

    fn forget<'a>(&'a self, id: &'a EnvironmentId, operation: &'a OperationId) -> Answer<'a, ()> {
        Box::pin(
            self.inner.ask(id, move |client| async move { client.forget(id, operation).await }),
        )
    }

    fn accompany<'a>(&'a self, id: &'a EnvironmentId, with: &'a Companion) -> Answer<'a, ()> {
        Box::pin(self.inner.accompany(id, with))
    }

    fn companion<'a>(&'a self, id: &'a EnvironmentId, name: &'a str) -> Answer<'a, Standing> {
        Box::pin(self.inner.companion(id, name))
    }

    fn follow_companion<'a>(
        &'a self,
        id: &'a EnvironmentId,
        name: &'a str,
        hear: Hear<'a>,
    ) -> Answer<'a, Standing> {
        Box::pin(self.inner.follow_companion(id, name, hear))
    }

    fn destroy<'a>(&'a self, id: &'a EnvironmentId) -> Answer<'a, ()> {
        Box::pin(self.inner.destroy(id))
    }

    fn volume(&self, id: &EnvironmentId, index: usize) -> Option<PathBuf> {
        Some(container::volume(&self.inner.folder(id), index))
    }

    fn list(&self) -> Answer<'_, Vec<Listed>> {
        Box::pin(self.inner.list())
    }

    fn sweep(&self) -> Answer<'_, usize> {
        Box::pin(self.inner.sweep())
    }
}

/// Does something that blocks, away from the runtime's own threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::Io { doing: "wait for a thread".to_owned(), why: error.to_string() })
    })
}
