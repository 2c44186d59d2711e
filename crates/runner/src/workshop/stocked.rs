//! Which environment a job gets: one from the pool, a copy of a snapshot, a copy of a prepared tree, or a
//! work tree of its own, in this order. And the snapshot that is kept of the first one whose prebuild was
//! done here.
//!
//! Only a job that stands at the commit it began with shares anything: whatever a step has done is its
//! own. A snapshot is taken before the first step, when no secret of a job was ever inside.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use windlass_devcontainer::configuration::Hook;
use windlass_git::{
    RefName,
    checkout::Objects,
    restat::{Against, restat},
};
use windlass_run::{
    Time,
    job::start::{Basis, Missed, Shelf, Start},
};
use windlass_sandbox::{Backend, Bind, CopyLimits, Door, EnvironmentId, Limits, Plan, copy_folder};

use super::{
    Workshop, base,
    checkpoint::disk_full,
    doors,
    environment::{CERTIFICATES, Environment, System, Tenant, broken},
    place::Attempt,
    pools,
    repository::{JobRepository, of_git},
    trees,
};
use crate::{
    definition::Definition,
    executor::{Attempted, Unopened},
    job::Job,
    stock::{HOME, INDEX, Kept, Key, Made, Phases, Recipe, Shown, StartError, TREE},
};

/// Where the mirror's objects are inside, read-only.
const OBJECTS: &str = "/opt/windlass/objects";
/// The most that a snapshot may hold.
const SNAPSHOT: CopyLimits = CopyLimits { bytes: 8 << 30, entries: 1_000_000 };
/// The file in a snapshot that names its family: what it can lend its home folder to.
const FAMILY: &str = "family";

/// An environment for a job, and what is known of it.
pub(crate) struct Stocked {
    pub(crate) system: System,
    pub(crate) prebuild: Prebuild,
    pub(crate) made: Made,
    /// Where the time went, in one line.
    pub(crate) started: String,
    /// The same for the server, but for the set-up, which is still to come.
    pub(crate) start: Start,
}

/// What of the set-up is done already.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Prebuild {
    /// All that can be done before a job is known: the environment is that of a snapshot.
    Done,
    /// Nothing; when it is done it is worth keeping, under this key.
    Keep { key: Key, family: Key },
    /// Nothing, and it can't be kept: there is nothing to do, or the work tree is not that of a commit.
    Plain,
}

/// A job that asks for an environment.
pub(crate) struct Asked<'a> {
    pub(crate) workshop: &'a Arc<Workshop>,
    pub(crate) job: &'a Arc<Job>,
    pub(crate) work: &'a JobRepository,
    pub(crate) attempt: &'a Attempt,
    pub(crate) tenant: &'a Tenant,
    /// The project's name as one folder name.
    pub(crate) name: &'a str,
}

impl Asked<'_> {
    /// Gets an environment for it.
    pub(crate) async fn get(&self, backend: &Arc<dyn Backend>) -> Result<Stocked, Attempted> {
        let Self { workshop, job, work, .. } = *self;
        let mut phases = Phases::default();
        let began = Instant::now();
        let beginning = Beginning::of_job(job, work);
        let (prepared, checked_out) = prepared(workshop, &beginning).await?;
        let began = phases.note(if checked_out { "check-out" } else { "prepared tree" }, began);
        let system = self.system(&**backend, &prepared).await?;
        let began = phases.note("definition", began);
        let plan = plan(workshop, work, &system);
        let can_keep = backend.home(&plan.id).is_some();
        let (recipe, prebuild) = choose(workshop, &beginning, prepared, &system, plan, can_keep);
        let is_base = work.tip == work.base;
        workshop.pool.bound(&recipe.project, pools::bounds(&job.house));
        let shelf = workshop.pool.look(&recipe, Instant::now());
        let ahead = if is_base { claim(workshop, backend, &recipe).await } else { None };
        let missed = match (&ahead, &shelf) {
            (Some(_), _) => None,
            (None, _) if !is_base => Some(Missed::Own),
            (None, _) if workshop.pool.most() == 0 => Some(Missed::Off),
            (None, Some(_)) => Some(Missed::Empty),
            (None, None) => Some(Missed::New),
        };
        let from = match (&ahead, &prebuild) {
            (Some(_), _) => Basis::Pool,
            (None, Prebuild::Done) => Basis::Snapshot,
            (None, _) if checked_out => Basis::Mirror,
            (None, _) => Basis::Tree,
        };
        let (made, how) = match ahead {
            Some(made) => {
                phases.note("claim", began);
                (made, "from the pool")
            }
            None => {
                let beginning = format!("{}-{}", job.job_id, job.epoch);
                let made = workshop.maker.make(backend, &recipe, &beginning).await;
                let made = made.map_err(|error| unmade(workshop, error))?;
                phases.0.extend(made.phases.0.iter().copied());
                (made, "not from the pool")
            }
        };
        let pool = workshop.pool.look(&recipe, Instant::now()).map(shown);
        if is_base {
            workshop.pool.refill(backend, Instant::now());
        } else {
            // What steps have done is this job's alone.
            workshop.store.forget(recipe.from).await;
        }
        let snapshot = match &prebuild {
            Prebuild::Done => ", with its prebuild",
            Prebuild::Keep { .. } | Prebuild::Plain => "",
        };
        let total = phases.total().as_secs_f64() * 1000.0;
        let started = format!("started in {total:.1} ms, {how}{snapshot} ({phases})");
        let stages = phases.0.iter().map(|(name, took)| ((*name).to_owned(), micros(*took)));
        let limits = system.allowance.told(&made.created.report);
        let start = Start { from, missed, stages: stages.collect(), pool, limits };
        Ok(Stocked { system, prebuild, made, started, start })
    }

    /// What the project's definition wants, with its image ready.
    async fn system(&self, backend: &dyn Backend, prepared: &Kept) -> Result<System, Attempted> {
        let tree = prepared.path().join(TREE);
        // Where the context of a build is checked out, if steps have changed the tree since.
        let scratch = format!("{}-{}-build", self.job.job_id, self.job.epoch);
        let folder = self.workshop.options.state_dir.join("trees").join(scratch);
        let on_disk = base::Tree { folder: &folder, tree: &tree };
        let (tenant, attempt) = (self.tenant, self.attempt);
        let system =
            System::of(self.workshop, backend, tenant, self.work, &on_disk, self.name, attempt);
        let system = system.await;
        trees::remove(&folder).await;
        system
    }
}

/// An environment that lives by itself, in its own folder and under its own name.
pub(crate) struct OfItsOwn<'a> {
    pub(crate) workshop: &'a Workshop,
    pub(crate) tenant: &'a Tenant,
    pub(crate) beginning: Beginning<'a>,
    pub(crate) attempt: &'a Attempt,
    /// The project's name as one folder name.
    pub(crate) name: &'a str,
    pub(crate) id: &'a EnvironmentId,
    pub(crate) folder: &'a Path,
}

impl OfItsOwn<'_> {
    /// Makes it for the first time: from a snapshot or a prepared tree, as a job's is made that is not from
    /// the pool.
    pub(crate) async fn first(&self, backend: &Arc<dyn Backend>) -> Result<Stocked, Attempted> {
        let Self { workshop, tenant, attempt, beginning, .. } = self;
        let work = beginning.work;
        let mut phases = Phases::default();
        let began = Instant::now();
        let (prepared, checked_out) = prepared(workshop, beginning).await?;
        let began = phases.note(if checked_out { "check-out" } else { "prepared tree" }, began);
        let tree = prepared.path().join(TREE);
        let on_disk = base::Tree { folder: self.folder, tree: &tree };
        let system =
            System::of(workshop, &**backend, tenant, work, &on_disk, self.name, attempt).await?;
        phases.note("definition", began);
        let plan = plan(workshop, work, &system);
        let can_keep = backend.home(self.id).is_some();
        let (recipe, prebuild) = choose(workshop, beginning, prepared, &system, plan, can_keep);
        let from = match &prebuild {
            Prebuild::Done => Basis::Snapshot,
            Prebuild::Keep { .. } | Prebuild::Plain if checked_out => Basis::Mirror,
            Prebuild::Keep { .. } | Prebuild::Plain => Basis::Tree,
        };
        let made = workshop.maker.make_in(backend, &recipe, self.id.clone(), self.folder).await;
        let made = made.map_err(|error| unmade(workshop, error))?;
        phases.0.extend(made.phases.0.iter().copied());
        let was = match from {
            Basis::Snapshot => "from a snapshot, with its prebuild",
            Basis::Pool | Basis::Tree | Basis::Mirror => "from the prepared work tree",
        };
        let total = phases.total().as_secs_f64() * 1000.0;
        let started = format!("started in {total:.1} ms, {was} ({phases})");
        let stages = phases.0.iter().map(|(name, took)| ((*name).to_owned(), micros(*took)));
        let limits = system.allowance.told(&made.created.report);
        let start = Start { from, missed: None, stages: stages.collect(), pool: None, limits };
        Ok(Stocked { system, prebuild, made, started, start })
    }

    /// Makes it around the work tree that is there, or takes it over as it is.
    pub(crate) async fn around(
        &self,
        backend: &Arc<dyn Backend>,
        is_there: bool,
    ) -> Result<Stocked, Attempted> {
        let Self { workshop, tenant, attempt, beginning, id, folder, .. } = self;
        let (tree, index) = (folder.join(TREE), folder.join(INDEX));
        let mut phases = Phases::default();
        let began = Instant::now();
        let on_disk = base::Tree { folder, tree: &tree };
        let system =
            System::of(workshop, &**backend, tenant, beginning.work, &on_disk, self.name, attempt)
                .await?;
        let began = phases.note("definition", began);
        let mut plan = plan(workshop, beginning.work, &system);
        plan.id = (*id).clone();
        plan.work_tree.host.clone_from(&tree);
        let created = match is_there {
            true => backend.adopt(id).await,
            false => backend.create(&plan, &system.prepared).await,
        };
        let created = created.map_err(|error| broken(workshop, &error))?;
        phases.note("environment", began);
        let stages = phases.0.iter().map(|(name, took)| ((*name).to_owned(), micros(*took)));
        let (from, limits) = (Basis::Tree, system.allowance.told(&created.report));
        let start = Start { from, missed: None, stages: stages.collect(), pool: None, limits };
        let (id, backend, folder) = ((*id).clone(), backend.clone(), folder.to_path_buf());
        let made = Made { id, backend, created, folder, tree, index, phases };
        let started = "made around its own work tree".to_owned();
        Ok(Stocked { system, prebuild: Prebuild::Plain, made, started, start })
    }
}

/// A span for the server.
pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn shown(shown: Shown) -> Shelf {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Shelf {
        ready: count(shown.ready),
        wanted: count(shown.wanted),
        gap: shown.gap.map(micros),
        refill: shown.refill.map(micros),
        most: count(shown.most),
    }
}

/// An environment of the pool that still stands.
async fn claim(workshop: &Workshop, backend: &Arc<dyn Backend>, recipe: &Recipe) -> Option<Made> {
    while let Some(made) = workshop.pool.claim(recipe, Instant::now()) {
        if made.backend.adopt(&made.id).await.is_ok() {
            return Some(made);
        }
        workshop.maker.end(backend.clone(), made.id, made.folder);
    }
    None
}

fn unmade(workshop: &Workshop, error: StartError) -> Attempted {
    match error {
        StartError::Environment(error) => broken(workshop, &error),
        StartError::Disk { error, .. } if is_full(&error) => disk_full(&error),
        StartError::Disk { .. } => {
            Attempted::GiveBack(format!("the environment can't be made: {error}"))
        }
    }
}

/// Another try would fail as this one did.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What can go wrong while a tree is prepared.
enum Unprepared {
    Git(windlass_git::Error),
    Disk(io::Error),
}

impl From<io::Error> for Unprepared {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// What an environment begins with.
pub(crate) struct Beginning<'a> {
    pub(crate) work: &'a JobRepository,
    /// Whose it is: what steps have changed is nobody else's.
    pub(crate) owner: String,
    /// The branch of the work tree.
    pub(crate) branch: String,
    /// Hosts that its programs may reach.
    pub(crate) network: Vec<String>,
    pub(crate) created_at: Time,
}

impl<'a> Beginning<'a> {
    fn of_job(job: &Job, work: &'a JobRepository) -> Self {
        job.look(|state| Self {
            work,
            owner: job.job_id.to_string(),
            branch: state.spec.target.base.clone(),
            network: state.spec.network.clone(),
            created_at: state.created_at,
        })
    }
}

/// The prepared tree of the commit, checked out now if it isn't there. Answers whether it was.
async fn prepared(
    workshop: &Workshop,
    beginning: &Beginning<'_>,
) -> Result<(Kept, bool), Attempted> {
    let options = check_out(beginning).map_err(of)?;
    let Beginning { work, branch, owner, .. } = beginning;
    let is_base = work.tip == work.base;
    let of_job = if is_base { "" } else { owner.as_str() };
    let mirror = work.mirror.dir().to_string_lossy().into_owned();
    let key = Key::of(&[
        "tree 1",
        &mirror,
        of_job,
        work.tip.as_str(),
        work.base.as_str(),
        branch,
        options.origin.as_deref().unwrap_or(""),
    ]);
    // The mirror has no borrower's checkpoints; a tree at one of these stands by itself.
    let source = if is_base { &work.mirror } else { &work.repository };
    let made = workshop.store.get_or_make(&key, |folder| async move {
        let mut options = options;
        options.index_copy = Some(folder.join(INDEX));
        source.checkout(&folder.join(TREE), &options).await.map_err(Unprepared::Git)
    });
    made.await.map_err(|error| match error {
        Unprepared::Git(error) => of(error),
        Unprepared::Disk(error) => {
            Attempted::GiveBack(format!("the work tree can't be prepared: {error}"))
        }
    })
}

fn of(error: windlass_git::Error) -> Attempted {
    match of_git(error) {
        Unopened::End(end) => Attempted::JobEnded(end),
        Unopened::GiveBack(why) => Attempted::GiveBack(why),
    }
}

fn check_out(beginning: &Beginning<'_>) -> windlass_git::Result<windlass_git::checkout::Options> {
    let Beginning { work, branch, created_at, .. } = beginning;
    let branch = RefName::branch(branch)?;
    let objects = if work.tip == work.base {
        Objects::Borrowed { place_inside: OBJECTS.into() }
    } else {
        Objects::Copied
    };
    Ok(windlass_git::checkout::Options {
        commit: work.tip.clone(),
        remote_branches: vec![(branch.clone(), work.base.clone())],
        branch: Some(branch),
        objects,
        origin: Some(doors::origin()),
        identity: Some(super::checkpoint::platform(*created_at)),
        index_copy: None,
    })
}

/// What the environment is made from: a snapshot if there is one, else the prepared tree, with the home
/// folder of the newest snapshot of the same family.
fn choose(
    workshop: &Workshop,
    beginning: &Beginning<'_>,
    prepared: Kept,
    system: &System,
    plan: Plan,
    can_keep: bool,
) -> (Recipe, Prebuild) {
    let work = beginning.work;
    let base = &system.prepared;
    let project = work.project.to_string();
    let plain = |from: Kept| Recipe {
        project: project.clone(),
        from,
        home: None,
        prepared: base.clone(),
        plan: plan.clone(),
    };
    let definition = &system.definition;
    // What a prebuild puts into a volume would be missing beside its snapshot.
    let is_whole = definition.volumes.is_empty();
    if work.tip != work.base || !can_keep || !is_whole || !has_prebuild(definition) {
        return (plain(prepared), Prebuild::Plain);
    }
    let (key, family) = keys(beginning, &prepared, system, &plan);
    if let Some(snapshot) = workshop.store.get(&key) {
        return (plain(snapshot), Prebuild::Done);
    }
    let wanted = family.as_str().as_bytes().to_vec();
    let is_kin = |folder: &Path| std::fs::read(folder.join(FAMILY)).is_ok_and(|it| it == wanted);
    let home = if can_go_on(definition) { workshop.store.newest(is_kin) } else { None };
    let recipe = Recipe { home, ..plain(prepared) };
    (recipe, Prebuild::Keep { key, family })
}

fn has_prebuild(definition: &Definition) -> bool {
    let stages = definition.devcontainer.as_ref().map(|resolved| &resolved.lifecycle.prebuild);
    stages.is_some_and(|stages| !stages.is_empty()) || !definition.automation.prebuild().is_empty()
}

/// Whether a prebuild may begin with the home folder of another one. `updateContentCommand` is there to be
/// run again on what an earlier run has made; nothing else of a prebuild has to bear that.
fn can_go_on(definition: &Definition) -> bool {
    let stages = definition.devcontainer.as_ref().map(|resolved| &resolved.lifecycle.prebuild);
    definition.automation.prebuild().is_empty()
        && stages.is_some_and(|stages| stages.iter().all(|s| s.hook == Hook::UpdateContent))
}

/// Everything that the outcome of a prebuild depends on, and the part of it that two commits may share.
fn keys(beginning: &Beginning<'_>, prepared: &Kept, system: &System, plan: &Plan) -> (Key, Key) {
    let text = |value: serde_json::Result<String>| value.unwrap_or_default();
    let Beginning { work, branch, network, .. } = beginning;
    let mut hosts = network.clone();
    hosts.sort();
    let definition = text(serde_json::to_string(&system.definition));
    let base = &system.prepared.name;
    // What it may use of the machine changes nothing of what is kept.
    let plan = Plan { limits: Limits::default(), ..plan.clone() };
    let (plan, hosts) = (text(serde_json::to_string(&plan)), hosts.join("\n"));
    let mirror = work.mirror.dir().to_string_lossy().into_owned();
    let key = Key::of(&["snapshot 1", prepared.key().as_str(), base, &definition, &plan, &hosts]);
    let family = Key::of(&["family 1", &mirror, branch, base, &definition, &plan, &hosts]);
    (key, family)
}

/// Keeps a copy of the environment as it is after its prebuild and before anything of the job. Answers
/// what to say of it.
pub(crate) async fn keep(workshop: &Workshop, environment: &Environment) -> Option<String> {
    let Prebuild::Keep { key, family } = &environment.prebuild else { return None };
    let home = environment.backend.home(&environment.id)?;
    let tree = environment.host_tree.clone();
    let (index, by) = (environment.index.clone(), workshop.store.copies_by());
    let family = family.clone();
    let began = Instant::now();
    let kept = workshop.store.get_or_make(key, |folder| async move {
        let copy = move || copy_all(&folder, &tree, &home, &index, by, &family);
        tokio::task::spawn_blocking(copy).await.map_err(io::Error::other).flatten()
    });
    Some(match kept.await {
        Ok(_) => {
            format!("a snapshot is kept for the next start ({} ms)", began.elapsed().as_millis())
        }
        Err(error) => format!("no snapshot is kept: {error}"),
    })
}

fn copy_all(
    folder: &Path,
    tree: &Path,
    home: &Path,
    index: &Path,
    by: windlass_sandbox::CopyBy,
    family: &Key,
) -> io::Result<()> {
    let copied = copy_folder(tree, &folder.join(TREE), by, SNAPSHOT)?;
    let left = CopyLimits {
        bytes: SNAPSHOT.bytes - copied.bytes,
        entries: SNAPSHOT.entries - copied.entries,
    };
    copy_folder(home, &folder.join(HOME), by, left)?;
    // What the prebuild changed must be looked at again, whatever times it gave its files.
    restat(index, &folder.join(INDEX), tree, Against::Same).map_err(io::Error::other)?;
    std::fs::write(folder.join(FAMILY), family.as_str())
}

/// The plan of every environment with this definition: its id and work tree are chosen when it is made.
fn plan(workshop: &Workshop, work: &JobRepository, system: &System) -> Plan {
    let mut plan = plain_plan(workshop, system);
    if work.tip == work.base {
        let objects = work.mirror.dir().join("objects");
        plan.binds.push(Bind { host: objects, inside: PathBuf::from(OBJECTS), optional: false });
    }
    plan
}

/// The same for a work tree that borrows nothing.
fn plain_plan(workshop: &Workshop, system: &System) -> Plan {
    let options = &workshop.options;
    let id = EnvironmentId::parse("recipe").expect("it is a name");
    let mut plan = Plan::new(id, PathBuf::from("/"), PathBuf::from(&system.definition.tree));
    plan.limits = system.allowance.limits.clone();
    plan.names.clone_from(&system.definition.services.names);
    plan.layers = options.layers.clone();
    plan.doors = doors::NAMES
        .iter()
        .map(|(name, port)| Door { name: (*name).to_owned(), port: *port })
        .collect();
    let bind = |host: &Path, inside: &str, optional: bool| Bind {
        host: host.to_owned(),
        inside: PathBuf::from(inside),
        optional,
    };
    plan.binds.clone_from(&system.binds);
    plan.volumes = system.definition.volumes.iter().map(PathBuf::from).collect();
    plan.again.clone_from(&system.definition.again);
    plan.allow_ptrace = system.definition.traces;
    plan.user.clone_from(&system.user);
    if let Some(agents) = &options.agents_dir {
        plan.binds.push(bind(agents, windlass_agent::known::INSTALLED_UNDER, true));
    }
    if let Some(bundle) = &options.ca_bundle {
        plan.binds.push(bind(bundle, CERTIFICATES, true));
    }
    plan
}
