//! The runner itself: registers, leases as many jobs as it has room for, sees each to its end, and
//! at its start puts in order whatever an earlier process left.

use std::{
    fs::{File, TryLockError},
    io,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use windlass_gateway::Secret;
use windlass_run::{Labels, RunnerId, job::Phase};
use windlass_wire::runner::{
    self as wire, JobStatus, LeaseRequest, PROTOCOL, Register, Registered, Wish,
};

use crate::{
    client::{self, Client},
    definition::BackendKind,
    driver, environments,
    executor::Executor,
    health,
    held::Held,
    job::Job,
    journal::{Journal, LeaseId, Left},
    link::{self, Backoff, Link},
    null::Null,
    options::Options,
    tls::{self, Pinned},
    workshop::{Worker, Workshop},
};

/// How long one question for jobs waits for an answer.
const LONG_POLL: Duration = Duration::from_secs(20);
/// How many leases beyond the capacity may wait for the server to take what they have to say.
const UNSETTLED: usize = 256;
/// How long an earlier runner of the same folder may take to end: one whose server was killed gives
/// its jobs back first.
const LOCK_PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 40 });
/// How often in a row the server may not accept the token before this runner believes it.
const REFUSALS: u32 = 3;
/// How long a lease that is over may still deliver output.
const LAST_WORDS: Duration = Duration::from_secs(60);

/// Why a runner could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another runner uses the state folder.
    #[error(
        "the folder {0} is used by another runner that is still there; stop it first, or give this one a folder of its own"
    )]
    InUse(PathBuf),
    /// The state folder can't be used.
    #[error("{doing}: {error}")]
    State {
        /// What was being done.
        doing: String,
        /// What the system answered.
        error: io::Error,
    },
    /// The server does not accept the token.
    #[error("{0}; make a new one with the role `runner` and give it to this runner")]
    Token(String),
    /// The server does not accept the code.
    #[error("{0}")]
    Code(String),
    /// The server refuses this runner.
    #[error("{0}")]
    Refused(String),
    /// Environments can't be had here.
    #[error("no environment can be had on this machine: {0}")]
    Environments(String),
}

/// A runner that runs. Dropping it stops it without waiting; its jobs are given back by the next start.
pub struct Runner {
    link: Arc<Link>,
    /// No further job is leased.
    drain: CancellationToken,
    /// Jobs are stopped and given back.
    stop: CancellationToken,
    /// The loops end.
    end: CancellationToken,
    /// Everything ends at once, as if the process were killed.
    abandon: CancellationToken,
    jobs: TaskTracker,
    loops: Vec<JoinHandle<()>>,
    executor: Arc<dyn Executor>,
    /// Set once the server wants this process to end.
    ending: watch::Sender<Option<Ending>>,
    _lock: File,
}

/// Why the server wants a runner's process to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Somebody wants it to end its jobs and then to start anew.
    Restart,
    /// It is not accepted any more: it was removed, or its token was taken back.
    Shut(String),
}

/// What a runner remembers between two starts, beside its journal.
#[derive(Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) runner_id: RunnerId,
    pub(crate) server_url: String,
    /// The SHA-256 of its token, which knows the server too where its address has changed.
    #[serde(default)]
    pub(crate) token: String,
}

impl Identity {
    pub(crate) fn new(runner_id: RunnerId, server_url: &str, token: &Secret) -> Self {
        Self { runner_id, server_url: server_url.to_owned(), token: digest(token) }
    }
}

/// The SHA-256 of a token, as hexadecimal digits.
pub(crate) fn digest(token: &Secret) -> String {
    let digest = Sha256::digest(token.expose().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Runner {
    /// Starts a runner: waits for the server, puts in order what an earlier process left, and begins
    /// to lease jobs.
    ///
    /// # Errors
    /// [`Error`] when it can't ever work; a server that is away is waited for.
    pub async fn start(options: Options) -> Result<Self, Error> {
        Self::begin(options, None).await
    }

    /// Starts a runner whose steps are executed by `executor`.
    #[cfg(test)]
    pub(crate) async fn start_with(
        options: Options,
        executor: Arc<dyn Executor>,
    ) -> Result<Self, Error> {
        Self::begin(options, Some(executor)).await
    }

    async fn begin(options: Options, executor: Option<Arc<dyn Executor>>) -> Result<Self, Error> {
        // The doors' clients need one; whoever came first has chosen.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let state = |doing: &str| {
            let doing = format!("{doing} {}", options.state_dir.display());
            move |error| Error::State { doing, error }
        };
        make_private(&options.state_dir).map_err(state("make the folder"))?;
        let lock = lock(&options.state_dir).await?;
        let journal_path = options.state_dir.join("journal");
        let (journal, left) = Journal::open(&journal_path).map_err(state("open the journal in"))?;
        let (client, pin) = connect(&options)?;
        let identity_path = options.state_dir.join("runner.json");
        let previous = remembered(&identity_path, &options);
        let register = Register {
            name: options.name.clone(),
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            previous,
            capacity: options.capacity.max(1),
            environments: options.environments,
            labels: options.labels.and(&implied(&options)),
        };
        let registered = register_patiently(&client, &register).await?;
        let identity =
            Identity::new(registered.runner_id.clone(), &options.server_url, &options.token);
        remember(&identity_path, &identity).map_err(state("note the runner's id in"))?;
        tracing::info!(runner_id = %registered.runner_id, server = %options.server_url, "registered");

        let mut workshop = None;
        let executor: Arc<dyn Executor> = match executor {
            Some(executor) => executor,
            None if options.null_executor => Arc::new(Null),
            None => {
                let certificate = kept_certificate(&options.state_dir, pin.as_ref())
                    .map_err(state("keep the server's certificate in"))?;
                let opened = Arc::new(Workshop::open(options.clone(), certificate).await?);
                opened.tend_pool();
                workshop = Some(opened.clone());
                Arc::new(Worker(opened))
            }
        };
        sweep(&options.state_dir, &left);
        let link = Arc::new(Link::new(client, Arc::new(journal), register, registered));
        let mut runner = Self::run(options, link.clone(), executor, left, lock);
        if let Some(workshop) = workshop.filter(|workshop| workshop.options.environments > 0) {
            let keep = environments::keep(workshop, link, runner.end.clone());
            runner.loops.push(tokio::spawn(keep));
        }
        Ok(runner)
    }

    fn run(
        options: Options,
        link: Arc<Link>,
        executor: Arc<dyn Executor>,
        left: Left,
        lock: File,
    ) -> Self {
        let mut runner = Self {
            link,
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
            end: CancellationToken::new(),
            abandon: CancellationToken::new(),
            jobs: TaskTracker::new(),
            loops: Vec::new(),
            executor: executor.clone(),
            ending: watch::Sender::new(None),
            _lock: lock,
        };
        for (id, items) in left {
            let held = runner.link.take_up(id.clone(), folder(&options.state_dir, &id), items);
            held.release("the runner was restarted");
            let link = runner.link.clone();
            let executor = executor.clone();
            let abandon = runner.abandon.clone();
            runner.jobs.spawn(async move {
                abandon.run_until_cancelled(settle(&link, &held, &*executor)).await;
            });
        }
        runner.loops = vec![
            tokio::spawn(link::carry_reports(runner.link.clone(), runner.end.clone())),
            tokio::spawn(link::carry_streams(runner.link.clone(), runner.end.clone())),
            tokio::spawn(lease(Leasing {
                link: runner.link.clone(),
                executor,
                drain: runner.drain.clone(),
                stop: runner.stop.clone(),
                abandon: runner.abandon.clone(),
                jobs: runner.jobs.clone(),
                ending: runner.ending.clone(),
                slots: Arc::new(Semaphore::new(options.capacity.max(1) as usize)),
                options,
            })),
        ];
        runner
    }

    /// The runner's id, as the server gave it.
    pub fn id(&self) -> RunnerId {
        self.link.runner_id()
    }

    /// Waits until the server wants this process to end, if ever, and says why.
    pub async fn ending(&self) -> Ending {
        let mut ending = self.ending.subscribe();
        loop {
            if let Some(why) = &*ending.borrow_and_update() {
                return why.clone();
            }
            if ending.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Leases no further job, and returns when the last one has ended. To be ended by
    /// [`Runner::drain`] or [`Runner::stop`].
    pub async fn idle(&self) {
        self.drain.cancel();
        self.jobs.close();
        self.jobs.wait().await;
    }

    /// Leases no further job, and returns when the last one has ended and everything was delivered.
    pub async fn drain(self) {
        self.idle().await;
        self.finish().await;
    }

    /// Stops every job, gives them back to the server and returns when nothing is left running, at
    /// the latest after `patience` where the server is away (the next start goes on then).
    pub async fn stop(self, patience: Duration) {
        self.drain.cancel();
        self.stop.cancel();
        self.jobs.close();
        if tokio::time::timeout(patience, self.jobs.wait()).await.is_err() {
            tracing::warn!(
                "the server could not be told everything; the next start of this runner does it"
            );
        }
        self.finish().await;
    }

    /// From now on the disk is full.
    #[cfg(test)]
    pub(crate) fn fill_disk(&self) {
        self.link.journal.fill_disk();
    }

    /// Ends as a kill would: nothing is said and nothing is closed.
    #[cfg(test)]
    pub(crate) async fn abandon(mut self) {
        self.drain.cancel();
        self.end.cancel();
        self.abandon.cancel();
        self.jobs.close();
        self.jobs.wait().await;
        for task in std::mem::take(&mut self.loops) {
            let _ = task.await;
        }
    }

    async fn finish(mut self) {
        self.end.cancel();
        for task in std::mem::take(&mut self.loops) {
            // A loop that panicked has said so already.
            let _ = task.await;
        }
        self.executor.shut().await;
        let journal = self.link.journal.clone();
        let _ = tokio::task::spawn_blocking(move || journal.sync()).await;
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.drain.cancel();
        self.end.cancel();
    }
}

struct Leasing {
    link: Arc<Link>,
    executor: Arc<dyn Executor>,
    drain: CancellationToken,
    stop: CancellationToken,
    abandon: CancellationToken,
    jobs: TaskTracker,
    ending: watch::Sender<Option<Ending>>,
    slots: Arc<Semaphore>,
    options: Options,
}

/// Leases jobs while there is room, until drained.
async fn lease(leasing: Leasing) {
    let mut backoff = Backoff::default();
    let mut wish = Wish::Work;
    let mut refused = 0;
    loop {
        let free = tokio::select! {
            () = leasing.drain.cancelled() => return,
            free = leasing.room() => free,
        };
        let request = LeaseRequest {
            runner_id: leasing.link.runner_id(),
            max: free,
            wait_ms: u64::try_from(LONG_POLL.as_millis()).unwrap_or(20_000),
            wish,
            health: health::look(&leasing.options.state_dir),
            pools: leasing.executor.pools(),
        };
        let answer = tokio::select! {
            // A lease that the server gives at this moment is not taken up; it runs out by itself.
            () = leasing.drain.cancelled() => return,
            answer = leasing.link.client.lease(&request) => answer,
        };
        match answer {
            Ok(leases) => {
                (backoff, refused) = (Backoff::default(), 0);
                for lease in leases.leases {
                    leasing.begin(lease);
                }
                if leases.wish != wish {
                    wish = leases.wish;
                    tracing::info!(?wish, "the server wants something else of this runner");
                }
                if wish == Wish::Restart {
                    leasing.end(Ending::Restart);
                }
            }
            Err(error) => {
                if let client::Error::Unknown(_) = error {
                    let _ = leasing.link.register_anew().await;
                }
                if let client::Error::Token(why) = &error {
                    refused += 1;
                    if refused == REFUSALS {
                        leasing.end(Ending::Shut(why.clone()));
                    }
                }
                tracing::debug!(%error, "no jobs could be asked for");
                tokio::select! {
                    () = leasing.drain.cancelled() => return,
                    () = tokio::time::sleep(backoff.next()) => {}
                }
            }
        }
    }
}

impl Leasing {
    /// Waits until a job can be taken, and says how many.
    async fn room(&self) -> u32 {
        loop {
            // Only this loop takes places, so what is free now is still free after the answer.
            if let Ok(place) = self.slots.acquire().await {
                drop(place);
            }
            let unsettled = self.link.n_leases();
            if unsettled < self.options.capacity as usize + UNSETTLED {
                let free = self.slots.available_permits();
                return u32::try_from(free.max(1)).unwrap_or(1);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The server wants this process to end; the first reason counts.
    fn end(&self, why: Ending) {
        self.ending.send_if_modified(|ending| {
            let is_first = ending.is_none();
            ending.get_or_insert(why);
            is_first
        });
    }

    fn begin(&self, lease: wire::Lease) {
        let id = LeaseId { job_id: lease.job_id.clone(), epoch: lease.epoch };
        let held = self.link.take_up(id.clone(), folder(&self.options.state_dir, &id), Vec::new());
        let noted = self.link.journal.opened(&id);
        let job =
            Arc::new(Job::new(lease, held.clone(), self.link.clone(), self.options.clock.clone()));
        let (link, executor, slots, stop) =
            (self.link.clone(), self.executor.clone(), self.slots.clone(), self.stop.clone());
        let abandon = self.abandon.clone();
        // At once, so that the next question for jobs counts it. There is one, unless the server gave
        // more than was asked for.
        let place = slots.clone().try_acquire_owned().ok();
        let work = see_through(Leased { job, held, noted, link, executor, slots, place, stop });
        self.jobs.spawn(async move {
            abandon.run_until_cancelled(work).await;
        });
    }
}

/// One leased job and what it takes to see it to its end.
struct Leased {
    job: Arc<Job>,
    held: Arc<Held>,
    noted: io::Result<()>,
    link: Arc<Link>,
    executor: Arc<dyn Executor>,
    slots: Arc<Semaphore>,
    place: Option<OwnedSemaphorePermit>,
    stop: CancellationToken,
}

async fn see_through(leased: Leased) {
    let Leased { job, held, noted, link, executor, slots, place, stop } = leased;
    let place = match place {
        Some(place) => Some(place),
        None => slots.acquire_owned().await.ok(),
    };
    tracing::debug!(job_id = %job.job_id, epoch = job.epoch, "a job begins");
    match noted {
        Ok(()) => {
            // A panic is told by its hook; here it must not leave a lease that is renewed for nobody.
            let driving = driver::drive(job.clone(), executor.clone(), stop);
            let driven = AssertUnwindSafe(driving).catch_unwind().await;
            driver::make_sure_of_an_end(&job, driven.is_err());
        }
        Err(error) => {
            tracing::error!(%error, path = %link.journal.path().display(), "the journal can't be written; the job is given back");
            held.release(&format!("the runner's journal can't be written: {error}"));
        }
    }
    drop(place);
    settle(&link, &held, &*executor).await;
    job.look(|state| {
        if let Phase::Ended(end) = &state.phase {
            tracing::info!(job_id = %job.job_id, outcome = ?end.outcome, code = %end.code, "a job ended");
        }
    });
}

/// Waits until the server has all that a lease had to say, or wants none of it, and lets go of it.
async fn settle(link: &Link, held: &Held, executor: &dyn Executor) {
    let mut told = held.told();
    let mut over_since = None;
    loop {
        let status = told.borrow_and_update().status;
        let done = match status {
            JobStatus::Held => held.is_delivered(),
            JobStatus::Ended => {
                let since = *over_since.get_or_insert_with(tokio::time::Instant::now);
                held.is_delivered() || since.elapsed() > LAST_WORDS
            }
            JobStatus::Lost => true,
        };
        if done {
            // Before the journal forgets the lease: a kill in between is made up for by the next start.
            if status == JobStatus::Ended {
                executor.forget(held.id.job_id.clone()).await;
            }
            link.let_go(held);
            return;
        }
        tokio::select! {
            _ = told.changed() => {}
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
}

fn folder(state_dir: &Path, id: &LeaseId) -> PathBuf {
    state_dir.join("leases").join(id.folder())
}

/// What every runner is, beside what its operator says.
fn implied(options: &Options) -> Labels {
    let backend = match options.backend {
        BackendKind::Process => "process",
        BackendKind::Oci => "oci",
    };
    let words = [std::env::consts::OS, std::env::consts::ARCH, backend];
    Labels::new(words).expect("the words of this program are labels")
}

/// The client, and the pin where there is one.
fn connect(options: &Options) -> Result<(Client, Option<Pinned>), Error> {
    let (config, pin) = connection(
        &options.server_url,
        options.server_certificate.as_deref(),
        options.ca_bundle.as_deref(),
    )?;
    let client = Client::new(&options.server_url, options.token.clone(), config);
    Ok((client.map_err(|error| Error::Refused(error.to_string()))?, pin))
}

/// How the server must prove who it is, and the pin where there is one.
pub(crate) fn connection(
    server_url: &str,
    certificate: Option<&str>,
    ca_bundle: Option<&Path>,
) -> Result<(rustls::ClientConfig, Option<Pinned>), Error> {
    let tls = |error: tls::Error| Error::Refused(error.to_string());
    let pin = certificate.map(Pinned::parse).transpose().map_err(tls)?;
    let config = match (&pin, server_url.starts_with("https://"), ca_bundle) {
        (Some(pin), _, _) => pin.config(),
        (None, false, _) => tls::nobody(),
        (None, true, Some(path)) => {
            let doing = format!("read the CA bundle {}", path.display());
            let bundle = std::fs::read(path).map_err(|error| Error::State { doing, error })?;
            tls::authorities(&bundle).map_err(tls)?
        }
        (None, true, None) => {
            let why = "an `https` server needs the fingerprint of its certificate, or a CA bundle";
            return Err(Error::Refused(why.to_owned()));
        }
    };
    Ok((config, pin))
}

async fn register_patiently(client: &Client, register: &Register) -> Result<Registered, Error> {
    let mut backoff = Backoff::default();
    let mut waiting = false;
    loop {
        match client.register(register).await {
            Ok(registered) => return Ok(registered),
            Err(client::Error::Away(why)) => {
                if !std::mem::replace(&mut waiting, true) {
                    tracing::info!(%why, "waiting for the server");
                }
                tokio::time::sleep(backoff.next()).await;
            }
            Err(error @ client::Error::Token(_)) => return Err(Error::Token(error.to_string())),
            Err(error @ (client::Error::Unknown(_) | client::Error::Refused(_))) => {
                return Err(Error::Refused(error.to_string()));
            }
        }
    }
}

/// The pinned certificate as a file, for git, which takes only that.
fn kept_certificate(state_dir: &Path, pin: Option<&Pinned>) -> io::Result<Option<PathBuf>> {
    let Some(pem) = pin.and_then(Pinned::pem) else { return Ok(None) };
    let path = state_dir.join("server.pem");
    std::fs::write(&path, pem)?;
    Ok(Some(path))
}

fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Takes the folder for this process. Waits a while for an earlier one that is about to end.
async fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join("lock");
    let state = |error| Error::State { doing: format!("lock {}", path.display()), error };
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(state)?;
    let began = tokio::time::Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_PATIENCE => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(TryLockError::WouldBlock) => return Err(Error::InUse(dir.to_owned())),
            Err(TryLockError::Error(error)) => return Err(state(error)),
        }
    }
}

fn remembered(path: &Path, options: &Options) -> Option<RunnerId> {
    let identity: Identity = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let is_same =
        identity.server_url == options.server_url || identity.token == digest(&options.token);
    is_same.then_some(identity.runner_id)
}

pub(crate) fn remember(path: &Path, identity: &Identity) -> io::Result<()> {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, serde_json::to_vec(identity)?)?;
    std::fs::rename(&fresh, path)
}

/// Removes the folders of leases that are over.
fn sweep(state_dir: &Path, left: &Left) {
    let keep: Vec<String> = left.keys().map(LeaseId::folder).collect();
    let Ok(entries) = std::fs::read_dir(state_dir.join("leases")) else { return };
    for entry in entries.flatten() {
        if !keep.iter().any(|name| entry.file_name().to_str() == Some(name)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
