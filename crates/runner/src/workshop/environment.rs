//! One environment and what is executed in it. Thin over `sandbox`: the plan of a job, and programs
//! with a time limit.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use windlass_run::{Class, Time, class::Limited, job::Start};
use windlass_sandbox::{
    Backend, Bind, CopyBy, CopyLimits, Created, Demand, EnvironmentId, Error, Exec, ImageSettings,
    OperationId, Portable, Prepared, State, Status, User,
    backend::Companion,
    copy_folder,
    plan::{HOME, SYSTEM_PATH},
    spool::Stream,
};
use windlass_wire::runner as wire;

use super::{
    Workshop, base,
    disk::{self, Disk},
    doors::{self, Doors},
    left::Left,
    limits::Allowance,
    place::Attempt,
    repository::JobRepository,
    services::{Services, board::Board},
    setup,
    stocked::{self, Prebuild, Stocked},
    trees,
};
use crate::{
    definition::{Definition, folder_name},
    executor::Attempted,
    job::{Job, failed},
    stock::{self, Made, Maker},
};

/// Where the programs of Windlass are inside.
const PROGRAMS: &str = "/opt/windlass/bin";
/// Where the host's certificate authorities are inside.
pub(crate) const CERTIFICATES: &str = "/opt/windlass/certificates.pem";
/// The variables by which programs find certificate authorities.
pub(crate) const CERTIFICATE_VARIABLES: [&str; 7] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
];
/// How long a program may take to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most bytes of one program's output that are kept.
const OUTPUT: u64 = 64 << 20;
/// The file beside a work tree of its own that names the commit it began with, once it is whole: there
/// nothing inside can make or remove it.
const WHOLE: &str = "whole";

/// For whom an environment is made: a job's lease, or an environment that lives by itself.
pub(crate) struct Tenant {
    /// Its name on this host: the environment's, or the job's with the epoch.
    pub(crate) id: String,
    /// Its repository.
    pub(crate) repository: Option<wire::Repository>,
    /// Hosts that programs inside may reach.
    pub(crate) network: Vec<String>,
    /// Variables of programs inside that say where they are.
    pub(crate) marks: Vec<(String, String)>,
    /// Whether what the repository says of its environment is left out.
    pub(crate) plain: bool,
    /// What images are pulled with, before what the runner's operator has.
    pub(crate) registries: Vec<wire::Secret>,
    /// What it may use of this machine, where a class says so.
    pub(crate) class: Option<Class>,
    /// What its organisation and its project say beside it.
    pub(crate) house: wire::House,
}

impl Tenant {
    fn of_job(job: &Job, registries: Vec<wire::Secret>) -> Self {
        Self {
            registries,
            id: format!("{}-{}", job.job_id, job.epoch),
            repository: job.repository.clone(),
            network: job.look(|state| state.spec.network.clone()),
            plain: job.look(|state| state.spec.plain_environment),
            class: job.look(|state| state.spec.class.clone()),
            house: job.house.clone(),
            marks: vec![
                ("WINDLASS_JOB_ID".to_owned(), job.job_id.to_string()),
                ("WINDLASS_RUN_ID".to_owned(), job.run_id.to_string()),
            ],
        }
    }
}

/// Where the work tree of an environment that lives by itself is, and how it begins.
pub(crate) struct Home {
    /// Its folder, which outlives the environment.
    pub(crate) folder: PathBuf,
    /// The branch that the tree begins with.
    pub(crate) base: String,
    /// When the environment was created.
    pub(crate) created_at: Time,
    /// The folder of the environment whose work tree it begins with, where it is a fork.
    pub(crate) forked: Option<PathBuf>,
    /// The first number of its operations: none may come twice, whoever takes it over.
    pub(crate) first_operation: u64,
}

/// An environment that is ready.
pub(crate) struct Environment {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) id: EnvironmentId,
    /// How `windlass` itself is started inside.
    pub(crate) windlass: Vec<OsString>,
    /// Where programs run inside: the work tree or a folder of it.
    pub(crate) inside: PathBuf,
    /// What the repository says of its environment.
    pub(crate) definition: Arc<Definition>,
    /// What runs beside the steps.
    pub(crate) services: Arc<Services>,
    /// What is to run beside it from images of its own.
    pub(crate) beside: Vec<Companion>,
    name: String,
    pub(crate) doors: Doors,
    maker: Maker,
    folder: PathBuf,
    /// Where the work tree is on this machine.
    pub(crate) host_tree: PathBuf,
    /// The index that snapshots of the work tree use.
    pub(crate) index: PathBuf,
    /// What of it was made before.
    pub(crate) prebuild: Prebuild,
    /// Where the time of its start went, in one line.
    pub(crate) started: String,
    /// The same for the server; absent of one around a work tree of its own.
    pub(crate) start: Option<Start>,
    variables: Vec<(OsString, OsString)>,
    operations: Arc<AtomicU64>,
    keeps_tree: bool,
    /// What it may use of this machine.
    pub(crate) allowance: Allowance,
    /// What came of that.
    pub(crate) limits: Vec<Limited>,
    /// How much its files take.
    pub(crate) disk: Disk,
    /// Where the time of its making went, of one that lives by itself.
    pub(crate) stages: Vec<(String, u64)>,
    /// The volumes that it leaves to the next one of its project.
    left: Option<Left>,
}

/// What it takes to execute programs in an environment as its own are.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) access: Access,
    /// Where programs begin.
    pub(crate) inside: PathBuf,
    /// Their variables.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// How `windlass` itself is started inside.
    pub(crate) windlass: Vec<OsString>,
    /// What runs beside the work.
    pub(crate) board: Board,
}

/// The way into an environment, for what outlives a call.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) id: EnvironmentId,
}

/// How many characters of a program's name are kept.
const NAME: usize = 40;

/// How programs of an environment are put together, for what outlives a call.
#[derive(Clone)]
pub(crate) struct Execs {
    operations: Arc<AtomicU64>,
    inside: PathBuf,
    variables: Vec<(OsString, OsString)>,
}

impl Execs {
    /// What shall be executed, in the work tree, under a name that no other has.
    pub(crate) fn exec(&self, name: &str, argv: Vec<OsString>) -> Result<Exec, Error> {
        let n = self.operations.fetch_add(1, Ordering::Relaxed) + 1;
        // The number makes it unique; the name is for whoever looks for it in a list.
        let name: String =
            name.chars().take(NAME).map(|c| if c == '.' { '_' } else { c }).collect();
        let operation = OperationId::parse(&format!("{name}-{n}"))?;
        let mut exec = Exec::capture(operation, argv).in_folder(&self.inside);
        exec.env = self.variables.clone();
        exec.io = windlass_sandbox::Io::Capture { limit_bytes: OUTPUT };
        Ok(exec)
    }
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ran {
    /// By itself or by a signal that we did not send.
    Ended(State),
    /// Its time was over.
    TimedOut,
    /// Somebody told us to stop.
    Stopped,
    /// It did not end well, for want of something that the environment's limits say.
    Short(Short),
}

/// Of what there was too little.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Short {
    /// Processes: the kernel refused one.
    Processes(State),
    /// Disk: there was more than may be.
    Disk(disk::Over),
}

/// Why nothing could be executed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The environment or its supervisor failed us.
    #[error(transparent)]
    Environment(#[from] Error),
    /// The runner's disk does not take the output.
    #[error("the output can't be kept: {0}")]
    Disk(#[from] io::Error),
}

impl Environment {
    /// Makes a work tree at the job's newest checkpoint and an environment around it, or takes one that
    /// was started ahead.
    pub(crate) async fn make(
        workshop: &Arc<Workshop>,
        job: &Arc<Job>,
        work: &JobRepository,
        attempt: &Attempt,
        registries: Vec<wire::Secret>,
    ) -> Result<Self, Attempted> {
        let name = job.repository.as_ref().map_or("work", |repository| repository.name.as_str());
        let name = folder_name(name);
        let tenant = Tenant::of_job(job, registries);
        let backend = workshop.backend().await.map_err(|error| broken(workshop, &error))?;
        let asked = stocked::Asked { workshop, job, work, attempt, tenant: &tenant, name: &name };
        let Stocked { system, prebuild, made, started, start } = asked.get(&backend).await?;
        tell_unforced(&made.created);
        let Made { id, folder, tree: host_tree, index, created, .. } = made;
        let report = created.report;
        let doors = Doors::open(workshop, &tenant, created.doors).map_err(|why| {
            workshop.maker.end(backend.clone(), id.clone(), folder.clone());
            Attempted::GiveBack(why)
        })?;
        let System { definition, platform, windlass, allowance, beside, .. } = system;
        let mut variables: Vec<(OsString, OsString)> =
            platform.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        for (name, value) in &definition.variables {
            set(&mut variables, name, value.as_deref());
        }
        let home = backend.home(&id);
        Ok(Self {
            disk: Disk::new(&host_tree, home.as_deref(), allowance.limits.disk_bytes),
            limits: allowance.told(&report),
            stages: Vec::new(),
            allowance,
            backend,
            id,
            windlass,
            inside: PathBuf::from(&definition.folder),
            definition: Arc::new(definition),
            services: Arc::new(Services::new(&workshop.options.clock)),
            beside,
            name,
            doors,
            maker: workshop.maker.clone(),
            folder,
            host_tree,
            index,
            prebuild,
            started,
            start: Some(start),
            variables,
            operations: Arc::default(),
            keeps_tree: false,
            left: None,
        })
    }

    /// Makes an environment around a work tree that outlives it, and the tree where there is none yet: from
    /// what is in stock. One that is there is taken over as it is.
    pub(crate) async fn make_at(
        workshop: &Workshop,
        tenant: &Tenant,
        home: &Home,
        work: &JobRepository,
        attempt: &Attempt,
        is_there: bool,
    ) -> Result<Self, Attempted> {
        let id = EnvironmentId::parse(&tenant.id)
            .map_err(|error| Attempted::GiveBack(error.to_string()))?;
        let name = tenant.repository.as_ref().map_or("work", |repository| repository.name.as_str());
        let name = folder_name(name);
        let backend = workshop.backend().await.map_err(|error| broken(workshop, &error))?;
        let beginning = stocked::Beginning {
            work,
            owner: tenant.id.clone(),
            branch: home.base.clone(),
            network: tenant.network.clone(),
            created_at: home.created_at,
        };
        let folder = &home.folder;
        let kept = stocked::OfItsOwn {
            workshop,
            tenant,
            beginning,
            attempt,
            name: &name,
            id: &id,
            folder,
        };
        let whole = home.folder.join(WHOLE);
        let (stocked, start) = match whole.exists() || home.forked.is_some() {
            true => {
                let began = Instant::now();
                fork(home, work, workshop.store.copies_by()).await?;
                let mut stocked = kept.around(&backend, is_there).await?;
                stocked
                    .start
                    .stages
                    .insert(0, ("work tree".to_owned(), stocked::micros(began.elapsed())));
                (stocked, None)
            }
            false => {
                // What an earlier try left is not looked at.
                trees::remove(&home.folder.join(stock::TREE)).await;
                let stocked = kept.first(&backend).await?;
                if let Err(error) = note_whole(&whole, work) {
                    let _ = backend.destroy(&id).await;
                    return Err(of_git(error));
                }
                let start = stocked.start.clone();
                (stocked, Some(start))
            }
        };
        let Stocked { system, prebuild, made, started, start: told } = stocked;
        tell_unforced(&made.created);
        let definition = &system.definition;
        let left = Left::begin(workshop, tenant, definition, &*backend, &made.created, &id).await;
        let left = match left {
            Ok(left) => left,
            Err(why) => {
                let _ = backend.destroy(&id).await;
                return Err(why);
            }
        };
        let doors = match Doors::open(workshop, tenant, made.created.doors) {
            Ok(doors) => doors,
            Err(why) => {
                let _ = backend.destroy(&id).await;
                return Err(Attempted::GiveBack(why));
            }
        };
        let System { definition, platform, windlass, allowance, beside, .. } = system;
        let mut variables: Vec<(OsString, OsString)> =
            platform.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        for (name, value) in &definition.variables {
            set(&mut variables, name, value.as_deref());
        }
        let disk = Disk::new(&made.tree, backend.home(&id).as_deref(), allowance.limits.disk_bytes);
        set(&mut variables, windlass_wire::files::BASE, Some(work.base.as_str()));
        Ok(Self {
            disk: disk.tolerating().await,
            limits: told.limits,
            stages: told.stages,
            allowance,
            backend,
            id,
            windlass,
            inside: PathBuf::from(&definition.folder),
            definition: Arc::new(definition),
            services: Arc::new(Services::new(&workshop.options.clock)),
            beside,
            name,
            doors,
            maker: workshop.maker.clone(),
            folder: home.folder.clone(),
            host_tree: made.tree,
            index: made.index,
            prebuild,
            started,
            start,
            variables,
            operations: Arc::new(AtomicU64::new(home.first_operation)),
            keeps_tree: true,
            left,
        })
    }

    /// The project's name as one folder name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it takes to execute further programs in it, for as long as it is there.
    pub(crate) fn entry(&self) -> Entry {
        Entry {
            access: self.access(),
            inside: self.inside.clone(),
            variables: self.variables.iter().chain(self.doors.offered()).cloned().collect(),
            windlass: self.windlass.clone(),
            board: Board::new(
                self.services.clone(),
                self.definition.clone(),
                self.execs(),
                self.access(),
            ),
        }
    }

    /// The way in, for what outlives a call.
    pub(crate) fn access(&self) -> Access {
        Access { backend: self.backend.clone(), id: self.id.clone() }
    }

    /// The exact arguments of a shell command as steps have them: bash where there is one inside.
    pub(crate) fn shell(command: &str) -> Vec<OsString> {
        const CHOOSE: &str = "command -v bash >/dev/null 2>&1 && exec bash -euo pipefail -c \"$1\"; \
                              exec sh -eu -c \"$1\"";
        ["sh", "-c", CHOOSE, "sh", command].map(OsString::from).into()
    }

    /// What shall be executed, with the environment's own variables, in the work tree.
    pub(crate) fn exec(&self, name: &str, argv: Vec<OsString>) -> Result<Exec, Error> {
        self.execs().exec(name, argv)
    }

    /// How programs are put together, as things stand.
    pub(crate) fn execs(&self) -> Execs {
        let mut variables = self.variables.clone();
        variables.extend_from_slice(self.doors.offered());
        Execs { operations: self.operations.clone(), inside: self.inside.clone(), variables }
    }

    /// Executes a program to its end, at most for `limit`; its output is handed on as it comes. When
    /// it has ended, nothing that it started runs any more.
    pub(crate) async fn run(
        &self,
        exec: Exec,
        limit: Duration,
        stop: &CancellationToken,
        mut output: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Ran, Broken> {
        self.programs().run(exec, limit, stop, |_, bytes| output(bytes)).await
    }

    /// What executes programs in it, for whoever does not keep the environment to itself meanwhile.
    pub(crate) fn programs(&self) -> Programs {
        Programs { access: self.access(), execs: self.execs(), disk: self.disk.clone() }
    }

    /// Stops what runs in the environment; the rest of it goes away beside whatever else is to be done.
    pub(crate) async fn destroy(self) {
        self.services.stop().await;
        self.doors.close().await;
        if !self.keeps_tree {
            return self.maker.end(self.backend, self.id, self.folder);
        }
        let taken = self.left.as_ref().map(|left| left.take(&*self.backend, &self.id));
        // Its work tree is looked at next: nothing may run in it any more.
        if let Err(error) = self.backend.destroy(&self.id).await {
            tracing::warn!(%error, environment = %self.id, "an environment could not be removed; its supervisor does it");
            return;
        }
        if let (Some(left), Some(taken)) = (&self.left, taken) {
            left.keep(taken).await;
        }
    }

    /// Whether the end of it leaves something.
    pub(crate) fn leaves(&self) -> bool {
        self.left.is_some()
    }
}

/// Executes programs in an environment as long as that is there.
pub(crate) struct Programs {
    pub(crate) access: Access,
    pub(crate) execs: Execs,
    disk: Disk,
}

impl Programs {
    /// As [`Environment::run`], and says which output it was.
    pub(crate) async fn run(
        &self,
        exec: Exec,
        limit: Duration,
        stop: &CancellationToken,
        output: impl FnMut(Stream, &[u8]) -> io::Result<()>,
    ) -> Result<Ran, Broken> {
        // One that its files outgrow is told to stop as if somebody said so.
        let halt = stop.child_token();
        let run = self.access.run_apart(exec, limit, &halt, output);
        tokio::pin!(run);
        let ran = tokio::select! {
            ran = &mut run => ran?,
            over = self.disk.over() => {
                halt.cancel();
                return run.await.map(|_| Ran::Short(Short::Disk(over)));
            }
        };
        if ran == Ran::Stopped {
            return Ok(ran);
        }
        Ok(self.disk.look().await.map_or(ran, |over| Ran::Short(Short::Disk(over))))
    }
}

impl Access {
    /// As [`Environment::run`].
    pub(crate) async fn run(
        &self,
        exec: Exec,
        limit: Duration,
        stop: &CancellationToken,
        mut output: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Ran, Broken> {
        self.run_apart(exec, limit, stop, |_, bytes| output(bytes)).await
    }

    /// The same, and says which output it was.
    async fn run_apart(
        &self,
        exec: Exec,
        limit: Duration,
        stop: &CancellationToken,
        mut output: impl FnMut(Stream, &[u8]) -> io::Result<()>,
    ) -> Result<Ran, Broken> {
        let operation = exec.operation.clone();
        self.backend.exec(&self.id, &exec).await?;
        let mut position = 0;
        let ended = tokio::select! {
            ended = self.follow_apart(&operation, &mut position, &mut output) => Some(ended?),
            () = tokio::time::sleep(limit) => None,
            () = stop.cancelled() => None,
        };
        let ran = match ended {
            Some(status) if status.out_of_processes && !status.state.is_success() => {
                Ran::Short(Short::Processes(status.state))
            }
            Some(status) => Ran::Ended(status.state),
            None => {
                const TERM: i32 = 15;
                self.backend.signal(&self.id, &operation, TERM).await?;
                let follow = self.follow_apart(&operation, &mut position, &mut output);
                let _ = tokio::time::timeout(PATIENCE, follow).await;
                if stop.is_cancelled() { Ran::Stopped } else { Ran::TimedOut }
            }
        };
        // Daemons that it left behind would change the work tree under the snapshot.
        self.backend.kill(&self.id, &operation).await?;
        self.follow_apart(&operation, &mut position, &mut output).await?;
        self.backend.forget(&self.id, &operation).await?;
        Ok(ran)
    }

    /// Waits for a program's end; its output from a position on is handed on as it comes.
    pub(crate) async fn follow(
        &self,
        operation: &OperationId,
        position: &mut u64,
        output: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Status, Broken> {
        self.follow_apart(operation, position, &mut |_, bytes: &[u8]| output(bytes)).await
    }

    async fn follow_apart(
        &self,
        operation: &OperationId,
        position: &mut u64,
        output: &mut impl FnMut(Stream, &[u8]) -> io::Result<()>,
    ) -> Result<Status, Broken> {
        loop {
            let new = self.backend.output(&self.id, operation, *position).await?;
            let is_all = new.chunks.is_empty();
            // What was handed on is not handed on again, even if nobody waits for the rest.
            *position = new.next;
            for chunk in new.chunks {
                output(chunk.stream, &chunk.bytes)?;
            }
            if new.status.state.has_ended() && is_all {
                return Ok(new.status);
            }
        }
    }
}

/// Sets a variable, or takes it away; a name never stands twice.
pub(crate) fn set(variables: &mut Vec<(OsString, OsString)>, name: &str, value: Option<&str>) {
    variables.retain(|(other, _)| other != name);
    variables.extend(value.map(|value| (name.into(), value.into())));
}

/// Sets several variables.
pub(crate) fn set_all<'a>(
    variables: &mut Vec<(OsString, OsString)>,
    more: impl IntoIterator<Item = (&'a String, &'a String)>,
) {
    for (name, value) in more {
        set(variables, name, Some(value));
    }
}

/// What an attempt ends with when its environment failed.
pub(crate) fn broken(workshop: &Workshop, error: &Error) -> Attempted {
    match error {
        Error::LayerMissing { .. } => {
            let reason = format!("The environment was refused: {error}.");
            Attempted::JobEnded(failed("layer_missing", reason))
        }
        Error::InvalidPlan { .. } => Attempted::JobEnded(failed(
            "environment",
            format!("The environment was refused: {error}."),
        )),
        Error::Disconnected { .. } => {
            workshop.backend_is_gone();
            Attempted::GiveBack(error.to_string())
        }
        Error::Build { .. } => Attempted::JobEnded(failed(
            "environment",
            format!("The environment can't be built: {error}."),
        )),
        Error::NotFound { .. }
        | Error::Conflict { .. }
        | Error::Protocol { .. }
        | Error::Io { .. } => Attempted::GiveBack(format!("the environment failed: {error}")),
    }
}

/// Copies the work tree of the environment that one was forked from, once.
async fn fork(home: &Home, work: &JobRepository, by: CopyBy) -> Result<(), Attempted> {
    let whole = home.folder.join(WHOLE);
    let Some(forked) = home.forked.as_ref().filter(|_| !whole.exists()) else { return Ok(()) };
    let tree = home.folder.join(stock::TREE);
    trees::remove(&tree).await;
    copy_tree(forked, &tree, by).await.map_err(of_git)?;
    note_whole(&whole, work).map_err(of_git)
}

fn of_git(error: windlass_git::Error) -> Attempted {
    match super::repository::of_git(error) {
        crate::executor::Unopened::End(end) => Attempted::JobEnded(end),
        crate::executor::Unopened::GiveBack(why) => Attempted::GiveBack(why),
    }
}

fn note_whole(whole: &Path, work: &JobRepository) -> windlass_git::Result<()> {
    std::fs::write(whole, work.base.as_str()).map_err(|source| windlass_git::Error::Io {
        what: format!("note {}", whole.display()),
        source,
    })
}

/// Copies another environment's work tree, whatever its programs made of it and while they may go on. The
/// first look at the copy's own work reads every file: of an index nothing could be believed.
async fn copy_tree(from: &Path, tree: &Path, by: CopyBy) -> windlass_git::Result<()> {
    const MOST: CopyLimits = CopyLimits { bytes: 64 << 30, entries: 4_000_000 };
    let (source, target) = (from.join("tree"), tree.to_owned());
    let copied = tokio::task::spawn_blocking(move || copy_folder(&source, &target, by, MOST));
    copied.await.map_err(io::Error::other).flatten().map(|_| ()).map_err(|source| {
        windlass_git::Error::Io {
            what: format!("copy the work tree that the fork begins with, {}", from.display()),
            source,
        }
    })
}

/// Which wanted layers are not in force.
fn tell_unforced(created: &Created) {
    let layers = created.report.layers.iter();
    for row in layers.filter(|row| !row.in_force && row.demand != Demand::Off) {
        tracing::debug!(layer = %row.layer, detail = %row.detail, "a wanted layer is not in force");
    }
}

/// What an environment is made from and how programs are started in it, by its definition.
pub(crate) struct System {
    pub(crate) definition: Definition,
    /// The host, or an image that is ready.
    pub(crate) prepared: Prepared,
    /// Who programs are inside; `None` is `agent`.
    pub(crate) user: Option<User>,
    /// The variables of every program inside, before the definition's.
    pub(crate) platform: BTreeMap<String, String>,
    /// How `windlass` itself is started inside.
    pub(crate) windlass: Vec<OsString>,
    /// What has to be shown inside for that, and of the host.
    pub(crate) binds: Vec<Bind>,
    /// What it may use of this machine.
    pub(crate) allowance: Allowance,
    /// What is to run beside it, with images that are ready.
    pub(crate) beside: Vec<Companion>,
}

impl System {
    /// Reads the definition and makes ready what it wants.
    pub(super) async fn of(
        workshop: &Workshop,
        backend: &dyn Backend,
        tenant: &Tenant,
        work: &JobRepository,
        on_disk: &base::Tree<'_>,
        name: &str,
        attempt: &Attempt,
    ) -> Result<Self, Attempted> {
        let tree = on_disk.tree;
        let making = base::Making { workshop, backend, tenant, work, tree: on_disk, name, attempt };
        let mut known = base::Known::default();
        let read = async |image: Option<&ImageSettings>, known: &base::Known| {
            let platform = variables(workshop, tenant, image);
            let variables = &platform;
            let asked = setup::Reading { work, tree, name, variables, image, known };
            let read = asked.definition(workshop, tenant).await?;
            Ok::<_, Attempted>((read, platform))
        };
        let (mut definition, mut platform) = loop {
            let read = read(None, &known).await?;
            // A Feature may depend on others, and a Dockerfile speak of an image's variables: what is
            // needed next is known once they are here.
            if !known.complete(&making, &read.0).await? {
                break read;
            }
        };
        let mut prepared = base::prepare(&making, &definition, &known).await?;
        let is_image = !prepared.name.is_empty();
        if is_image {
            // What the image says about itself is part of the definition, and what Features made of it.
            (definition, platform) = read(Some(&prepared.settings), &known).await?;
            if definition.features().is_some() {
                prepared = base::with_features(&making, prepared, &definition, &known).await?;
                (definition, platform) = read(Some(&prepared.settings), &known).await?;
            }
        }
        let user = definition.user(&prepared.accounts).map_err(|why| {
            Attempted::JobEnded(failed(
                "environment",
                format!("The environment is refused: {why}."),
            ))
        })?;
        if let Some(user) = &user {
            let home = user.home.display().to_string();
            platform.insert("HOME".to_owned(), home);
        }
        let mut allowance = Allowance::of(&workshop.options.limits, tenant.class.as_ref());
        let (own, beside) = base::beside(&making, &definition, &allowance.limits).await?;
        allowance.limits = own;
        for name in ["NO_PROXY", "no_proxy"] {
            if let Some(hosts) = platform.get_mut(name) {
                for host in &definition.services.names {
                    hosts.push_str(&format!(",{host}"));
                }
            }
        }
        let program = windlass(workshop, is_image).await.map_err(|e| broken(workshop, &e))?;
        let mut binds = program.binds;
        if !is_image {
            binds.extend(workshop.options.binds.iter().cloned());
        }
        let windlass = program.argv;
        Ok(Self { definition, prepared, platform, user, windlass, binds, allowance, beside })
    }
}

/// How `windlass` is started inside, and what has to be shown for that.
struct Windlass {
    argv: Vec<OsString>,
    binds: Vec<Bind>,
}

/// An image may have another C library than the host, so there the program brings its own.
async fn windlass(workshop: &Workshop, is_image: bool) -> Result<Windlass, Error> {
    let bind =
        |(host, inside): (PathBuf, String)| Bind { host, inside: inside.into(), optional: false };
    let program = workshop.options.windlass_exe.clone();
    if !is_image {
        let inside = format!("{PROGRAMS}/windlass");
        return Ok(Windlass { argv: vec![(&inside).into()], binds: vec![bind((program, inside))] });
    }
    let look = move || Portable::of(&program, PROGRAMS, "windlass");
    let looked = tokio::task::spawn_blocking(look).await;
    let portable = looked.map_err(|error| Error::Io {
        doing: "look at windlass itself".to_owned(),
        why: error.to_string(),
    })??;
    Ok(Windlass {
        argv: portable.argv.into_iter().map(OsString::from).collect(),
        binds: portable.files.into_iter().map(bind).collect(),
    })
}

/// The variables of every program inside. None of them is secret. What an image wants comes first, and
/// the platform's own over it.
fn variables(
    workshop: &Workshop,
    tenant: &Tenant,
    image: Option<&ImageSettings>,
) -> BTreeMap<String, String> {
    let options = &workshop.options;
    let mut variables = vec![("LANG".to_owned(), "C.UTF-8".to_owned())];
    match image {
        Some(image) => {
            variables.push(("PATH".to_owned(), SYSTEM_PATH.to_owned()));
            variables.extend(image.variables.iter().cloned());
        }
        None => {
            let host = options.path.iter().map(|path| path.to_string_lossy().into_owned());
            let path: Vec<String> = host.chain([SYSTEM_PATH.to_owned()]).collect();
            variables.push(("PATH".to_owned(), path.join(":")));
            variables.extend(options.environment.clone());
        }
    }
    variables.extend([
        ("HOME".to_owned(), HOME.to_owned()),
        ("TERM".to_owned(), "xterm-256color".to_owned()),
        ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
        ("WINDLASS".to_owned(), "1".to_owned()),
    ]);
    variables.extend(tenant.marks.clone());
    let web = doors::web_address();
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        variables.push((name.to_owned(), web.clone()));
    }
    for name in ["NO_PROXY", "no_proxy"] {
        variables.push((name.to_owned(), "127.0.0.1,localhost,::1".to_owned()));
    }
    if options.ca_bundle.is_some() {
        for name in CERTIFICATE_VARIABLES {
            variables.push((name.to_owned(), CERTIFICATES.to_owned()));
        }
    }
    variables.into_iter().collect()
}
