//! The subject: a store, a pool and a supervisor, as a runner has them.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use windlass_git::{
    Address, Git, Mirror, RefName, Remote,
    checkout::{self, Objects},
};
use windlass_runner::stock::{Key, Made, Maker, Pool, PoolLimits, Recipe, Store};
use windlass_sandbox::{
    Backend, Bind, Client, Door, EnvironmentId, Exec, OperationId, Plan, Prepared,
};

const OBJECTS: &str = "/opt/windlass/objects";

pub(crate) struct Subject {
    client: Client,
    /// The same, as a runner works with it.
    backend: Arc<dyn Backend>,
    store: Store,
    maker: Maker,
    pool: Pool,
    recipe: Recipe,
}

impl Subject {
    pub(crate) async fn new(folder: &Path, project: &Path, windlass: &Path) -> Result<Self> {
        let state = folder.join("state");
        std::fs::create_dir(&state)?;
        let environments = state.join("environments");
        std::fs::create_dir(&environments)?;
        let argv: [OsString; 4] = [
            windlass.into(),
            "supervisor".into(),
            "--state-dir".into(),
            environments.clone().into(),
        ];
        let client = Client::spawn_or_connect(&environments, &argv)?;
        let store = Store::open(&state.join("prepared"), u64::MAX)?;
        let maker = Maker::new(&state.join("trees"), store.copies_by());
        let limits = PoolLimits { min: 1, max: 1, idle: Duration::from_secs(3600) };
        let pool = Pool::new(maker.clone(), limits);
        let recipe = recipe(&store, project, &state).await?;
        let backend: Arc<dyn Backend> = Arc::new(client.clone());
        Ok(Self { client, backend, store, maker, pool, recipe })
    }

    pub(crate) fn copies_by(&self) -> &'static str {
        self.store.copies_by().describe()
    }

    /// Off the clock: one environment is started ahead, and what was used is gone.
    pub(crate) async fn ready_ahead(&self) {
        self.maker.ended().await;
        self.pool.refill(&self.backend, Instant::now());
        self.pool.filled().await;
    }

    /// From the claim to the end of the first program.
    pub(crate) async fn warm(&self) -> Result<Duration> {
        let began = Instant::now();
        let made = match self.pool.claim(&self.recipe, began) {
            // As a runner does: what was started ahead may have died since.
            Some(made) => {
                self.client.adopt(&made.id).await?;
                made
            }
            // Only the first round, which doesn't count: nobody had asked yet.
            None => self.maker.make(&self.backend, &self.recipe, "first").await?,
        };
        self.first_exec(&made).await?;
        let took = began.elapsed();
        self.maker.end(self.backend.clone(), made.id, made.folder);
        self.maker.ended().await;
        Ok(took)
    }

    /// From nothing but the prepared tree to the end of the first program, in all of `n`.
    pub(crate) async fn cold(&self, n: usize) -> Result<Duration> {
        let began = Instant::now();
        let starts = (0..n).map(|_| async {
            let made = self.maker.make(&self.backend, &self.recipe, "cold").await?;
            self.first_exec(&made).await?;
            anyhow::Ok(made)
        });
        let all = futures::future::join_all(starts).await;
        let took = began.elapsed();
        for made in all {
            let made = made?;
            self.maker.end(self.backend.clone(), made.id, made.folder);
        }
        self.maker.ended().await;
        Ok(took)
    }

    pub(crate) async fn close(&self) -> Result<()> {
        self.pool.close().await;
        self.maker.ended().await;
        self.client.shutdown().await?;
        Ok(())
    }

    async fn first_exec(&self, made: &Made) -> Result<()> {
        let operation = OperationId::parse("true")?;
        let exec = Exec::capture(operation.clone(), ["/bin/true"]);
        // Both questions are asked before the first is answered, so the client waits once.
        let started = self.client.exec(&made.id, &exec);
        let ended = self.client.wait(&made.id, &operation);
        started.await?;
        let status = ended.await?;
        ensure!(status.state.is_success(), "/bin/true ended with {:?}", status.state);
        Ok(())
    }
}

/// What the runner does for a job without a definition.
async fn recipe(store: &Store, project: &Path, state: &Path) -> Result<Recipe> {
    let git = Git::default();
    let origin = Remote::open(Address::Path(project.to_owned()));
    let mirror = Mirror::open(&git, &state.join("mirror.git")).await?;
    let advertised = mirror.refresh(&origin).await?.advertised;
    let commit = advertised.require_branch("main")?.clone();
    let branch = RefName::branch("main")?;
    let mut options = checkout::Options::detached(commit.clone());
    options.objects = Objects::Borrowed { place_inside: OBJECTS.into() };
    options.remote_branches = vec![(branch.clone(), commit.clone())];
    options.branch = Some(branch);
    let checkout = |folder: PathBuf| async move {
        options.index_copy = Some(folder.join("index"));
        let made = mirror.repository().checkout(&folder.join("tree"), &options).await;
        made.map_err(io::Error::other)
    };
    let (from, _) = store
        .get_or_make::<io::Error, _>(&Key::of(&["bench", commit.as_str()]), checkout)
        .await
        .context("failed to prepare the tree")?;
    let mut plan = Plan::new(EnvironmentId::parse("recipe")?, "/", "/workspace/bench");
    plan.doors = [("model", 47101), ("git", 47102), ("web", 47103)]
        .map(|(name, port)| Door { name: name.to_owned(), port })
        .into();
    plan.binds = vec![Bind {
        host: state.join("mirror.git/objects"),
        inside: OBJECTS.into(),
        optional: false,
    }];
    let project = "bench".to_owned();
    Ok(Recipe { project, from, home: None, prepared: Prepared::default(), plan })
}
