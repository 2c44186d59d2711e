//! Makes one environment from what is in stock: its own copy of the tree, the environment around it, its
//! home, and an index that knows the copy. Nothing of a project is executed here.

use std::{
    collections::HashMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::task::TaskTracker;
use windlass_git::restat::{Numbers, restat_told};
use windlass_sandbox::{
    Backend, CopyBy, Created, EnvironmentId, Plan, Prepared, fill_for, remove_folder,
};

use super::store::{Kept, Key};

/// The name of the work tree in an entry and in the folder of an environment.
pub(crate) const TREE: &str = "tree";
/// The name of the index beside it.
pub(crate) const INDEX: &str = "index";
/// The name of the home folder in a snapshot.
pub(crate) const HOME: &str = "home";

/// What an environment is made from, apart from whose it is. Two recipes with the same key make the same
/// environment.
#[derive(Clone)]
pub struct Recipe {
    /// Whose it is.
    pub project: String,
    /// The prepared tree or the snapshot.
    pub from: Kept,
    /// A snapshot whose home folder the environment begins with, if `from` has none.
    pub home: Option<Kept>,
    /// What the environment's system is: the host, or an image.
    pub prepared: Prepared,
    /// The plan. Its id and the host's side of its work tree are chosen when it is made.
    pub plan: Plan,
}

impl Recipe {
    /// The digest of everything in it.
    pub fn key(&self) -> Key {
        // A plan that can't be written would not have been understood by the supervisor either.
        let plan = serde_json::to_string(&self.plan).unwrap_or_default();
        let home = self.home.as_ref().map_or("", |home| home.key().as_str());
        Key::of(&[self.from.key().as_str(), home, &self.prepared.name, &plan])
    }
}

/// An environment in which nothing was executed yet.
pub struct Made {
    /// Its name.
    pub id: EnvironmentId,
    /// What made it.
    pub backend: Arc<dyn Backend>,
    /// What is in force, and the sockets of its doors.
    pub created: Created,
    /// The folder of its work tree and index, to be removed after it.
    pub folder: PathBuf,
    /// The work tree.
    pub tree: PathBuf,
    /// The index for snapshots of the work tree.
    pub index: PathBuf,
    /// Where its time went.
    pub phases: Phases,
}

/// Where the time of a start went.
#[derive(Clone, Debug, Default)]
pub struct Phases(pub Vec<(&'static str, Duration)>);

impl Phases {
    /// Notes how long something took that ends now. Answers when that was.
    pub fn note(&mut self, name: &'static str, since: Instant) -> Instant {
        self.0.push((name, since.elapsed()));
        Instant::now()
    }

    /// All of them together.
    pub fn total(&self) -> Duration {
        self.0.iter().map(|(_, took)| *took).sum()
    }
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, took)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {:.1} ms", took.as_secs_f64() * 1000.0)?;
        }
        Ok(())
    }
}

/// Why an environment could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The supervisor refused it or failed.
    #[error(transparent)]
    Environment(#[from] windlass_sandbox::Error),
    /// This machine's disk failed.
    #[error("{doing}: {error}")]
    Disk {
        /// What was being done.
        doing: String,
        /// What the file system answered.
        error: io::Error,
    },
}

/// Makes environments and takes them down. Cheap to clone.
#[derive(Clone)]
pub struct Maker {
    trees: PathBuf,
    by: CopyBy,
    serial: Arc<AtomicU64>,
    ending: TaskTracker,
}

impl Maker {
    /// Makes work trees below `trees`, which must be on the store's file system for copies to be cheap.
    pub fn new(trees: &Path, by: CopyBy) -> Self {
        Self { trees: trees.to_owned(), by, serial: Arc::default(), ending: TaskTracker::new() }
    }

    /// A name that no other environment of this process has.
    ///
    /// # Errors
    /// When the beginning is no part of a name.
    pub fn name(&self, beginning: &str) -> windlass_sandbox::Result<EnvironmentId> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        EnvironmentId::parse(&format!("{beginning}-{serial}"))
    }

    /// The folder of an environment's work tree.
    pub fn folder(&self, id: &EnvironmentId) -> PathBuf {
        self.trees.join(id.as_str())
    }

    /// Makes an environment; on an error nothing is left of it.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn make(
        &self,
        backend: &Arc<dyn Backend>,
        recipe: &Recipe,
        beginning: &str,
    ) -> Result<Made, StartError> {
        let id = self.name(beginning)?;
        let folder = self.folder(&id);
        let unfinished = Unfinished { folder: Some(folder.clone()), ending: self.ending.clone() };
        let made = self.make_in(backend, recipe, id, &folder).await?;
        unfinished.done();
        Ok(made)
    }

    /// Makes an environment of this name whose work tree and index come to lie in a folder. On an error
    /// the folder is left as it is by then.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn make_in(
        &self,
        backend: &Arc<dyn Backend>,
        recipe: &Recipe,
        id: EnvironmentId,
        folder: &Path,
    ) -> Result<Made, StartError> {
        let folder = folder.to_owned();
        let mut phases = Phases::default();
        let began = Instant::now();
        let (tree, index) = (folder.join(TREE), folder.join(INDEX));
        std::fs::create_dir_all(&tree).map_err(|error| disk("make the work tree", error))?;
        for again in &recipe.plan.again {
            outline(&recipe.from.path().join(TREE), &tree, &again.below)
                .map_err(|error| disk("make the work tree", error))?;
        }
        let mut plan = recipe.plan.clone();
        plan.id = id.clone();
        plan.work_tree.host = tree.clone();
        // Around the empty tree: whose it will be is known then, and nobody has to walk it again.
        let created = backend.create(&plan, &recipe.prepared).await?;
        let began = phases.note("environment", began);
        let settle = Settle {
            from: recipe.from.clone(),
            lent: recipe.home.clone(),
            tree: tree.clone(),
            index: index.clone(),
            home: backend.home(&id),
            owner: owner(&tree, (created.report.outside_uid, created.report.outside_gid)),
            by: self.by,
        };
        let settled = tokio::task::spawn_blocking(move || settle.all());
        if let Err(error) = settled.await.map_err(io::Error::other).flatten() {
            let _ = backend.destroy(&id).await;
            return Err(disk("copy the work tree", error));
        }
        phases.note("work tree", began);
        Ok(Made { id, backend: backend.clone(), created, folder, tree, index, phases })
    }

    /// Takes an environment down beside whatever else is to be done.
    pub fn end(&self, backend: Arc<dyn Backend>, id: EnvironmentId, folder: PathBuf) {
        self.ending.spawn(async move {
            if let Err(error) = backend.destroy(&id).await {
                tracing::warn!(%error, environment = %id, "an environment could not be removed; its supervisor does it");
            }
            remove(folder).await;
        });
    }

    /// Waits until everything that was to be taken down is gone.
    pub async fn ended(&self) {
        self.ending.close();
        self.ending.wait().await;
        self.ending.reopen();
    }
}

/// Makes a folder of the kept tree in the empty one: what shall be seen a second time must be there when
/// the environment is made. What is no folder becomes an empty file, which is refused then.
fn outline(from: &Path, tree: &Path, below: &Path) -> io::Result<()> {
    let (mut from, mut to) = (from.to_owned(), tree.to_owned());
    for part in below.components() {
        from.push(part);
        to.push(part);
        match from.symlink_metadata() {
            Ok(found) if found.is_dir() => match std::fs::create_dir(&to) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            },
            Ok(_) => return std::fs::write(&to, ""),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// To whom the files of a work tree must be given as they are made: nobody where they are his already,
/// or where only the backend could tell.
pub(crate) fn owner(tree: &Path, (uid, gid): (u32, u32)) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    // A folder that was ours alone and now is another's was given by root, who can give its content too.
    let new = tree.metadata().ok()?;
    let is_given =
        new.uid() == uid && new.gid() == gid && tree.parent()?.metadata().ok()?.uid() != uid;
    is_given.then_some((uid, gid))
}

/// What is left to do when the environment stands and before anything runs in it.
struct Settle {
    from: Kept,
    lent: Option<Kept>,
    tree: PathBuf,
    index: PathBuf,
    /// Where the home folder is on this machine; absent where it can't be seen from here.
    home: Option<PathBuf>,
    owner: Option<(u32, u32)>,
    by: CopyBy,
}

impl Settle {
    fn all(&self) -> io::Result<()> {
        let mut told = HashMap::new();
        let tree = self.from.path().join(TREE);
        fill_for(&tree, &self.tree, self.by, self.owner, &mut |path, numbers| {
            told.insert(path, of_file(&numbers));
        })?;
        let is_snapshot = self.from.path().join(HOME).is_dir();
        let from = if is_snapshot { Some(&self.from) } else { self.lent.as_ref() };
        if let (Some(from), Some(home)) = (from, &self.home) {
            // An image may have given it something, which the snapshot has as well.
            empty(home)?;
            let nobody = &mut |_, _| {};
            fill_for(&from.path().join(HOME), home, self.by, self.owner, nobody)?;
        }
        // Without an index that fits, the first snapshot reads every file: slower, not wrong.
        let kept = self.from.path().join(INDEX);
        match restat_told(&kept, &self.index, &told) {
            Ok(_) if is_snapshot => Ok(()),
            Ok((_, bytes)) => {
                // Git inside has the same files before it, and nothing ran in there yet.
                let inside = self.tree.join(".git").join(INDEX);
                let file = std::fs::File::options().write(true).truncate(true).open(inside);
                file.and_then(|mut file| io::Write::write_all(&mut file, &bytes))
            }
            Err(error) => {
                tracing::debug!(%error, "the index of a prepared tree can't be used");
                std::fs::copy(&kept, &self.index).map(|_| ())
            }
        }
    }
}

/// Removes what is in a folder; nothing runs in there yet.
fn empty(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => remove_folder(&entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

fn of_file(numbers: &windlass_sandbox::Numbers) -> Numbers {
    let windlass_sandbox::Numbers { ctime, mtime, device, inode, mode, uid, gid, size } = *numbers;
    Numbers { ctime, mtime, device, inode, mode, uid, gid, size }
}

/// The folder of an environment that did not come to be.
struct Unfinished {
    folder: Option<PathBuf>,
    ending: TaskTracker,
}

impl Unfinished {
    fn done(mut self) {
        self.folder = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(self.ending.track_future(remove(folder)));
        }
    }
}

async fn remove(folder: PathBuf) {
    let removed = tokio::task::spawn_blocking(move || (remove_folder(&folder), folder)).await;
    if let Ok((Err(error), folder)) = removed {
        tracing::warn!(%error, path = %folder.display(), "a folder could not be removed; the next start does it");
    }
}

fn disk(doing: &str, error: io::Error) -> StartError {
    StartError::Disk { doing: doing.to_owned(), error }
}
