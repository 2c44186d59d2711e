//! Named volumes: what environments of one project leave to each other on this runner.
//!
//! Nothing is shared while it is written. An environment begins with a copy of what the last one of its
//! project left that had a volume of this name and was taken down in order; what it has then is left in turn.
//! So no environment sees another's half-done work, each one's files are its own user's, and what a killed
//! runner had not put in its place is gone.
//!
//! Only environments that live by themselves do this: people make them. Jobs also work for whoever a project
//! listens to, and nothing that such a one writes may reach a person's environment, nor the other way round.
//!
//! ```text
//! volumes/<project>/<name>/<serial>/data         the files; the highest serial counts
//!                                   about.json   what is known of them
//! volumes/making-...                             on its way; never used, swept at the start
//! ```

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tokio::sync::RwLock;
use windlass_sandbox::{CopyBy, fill_for, remove_folder};

/// The most that one volume may hold to be kept: bytes, files and folders.
pub const LARGEST: (u64, u64) = (16 << 30, 1_000_000);

/// The volumes of one runner. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Volumes {
    folder: PathBuf,
    by: CopyBy,
    serial: Arc<AtomicU64>,
    /// Held by whoever copies one, against whoever replaces it.
    turn: Arc<RwLock<()>>,
}

/// A volume that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The project's id.
    pub project_id: String,
    /// The project's name as it was then, for a person's eye.
    pub project: String,
    /// The volume's name.
    pub name: String,
    /// What its files take on disk, in bytes.
    pub bytes: u64,
    /// How many files and folders it holds.
    pub entries: u64,
    /// When it was left, in microseconds since the Unix epoch.
    pub kept_at: i64,
}

/// A volume that was taken out of an environment, not yet kept. Dropped, it is swept by the next start.
#[derive(Debug)]
pub(crate) struct Taken {
    making: PathBuf,
    name: String,
}

impl Volumes {
    /// Opens the volumes of a runner's folder and removes what was left on its way.
    ///
    /// # Errors
    /// What the file system answered.
    pub fn open(state_dir: &Path, by: CopyBy) -> io::Result<Self> {
        let volumes = Self::at(state_dir, by);
        std::fs::create_dir_all(&volumes.folder)?;
        for entry in std::fs::read_dir(&volumes.folder)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("making-") {
                remove_folder(&entry.path())?;
            }
        }
        Ok(volumes)
    }

    /// The same without touching anything, for whoever only looks or removes.
    pub fn at(state_dir: &Path, by: CopyBy) -> Self {
        let folder = state_dir.join("volumes");
        Self { folder, by, serial: Arc::default(), turn: Arc::default() }
    }

    /// All volumes, by project and name.
    ///
    /// # Errors
    /// What the file system answered.
    pub fn list(&self) -> io::Result<Vec<Volume>> {
        let mut all = Vec::new();
        for project in folders(&self.folder)? {
            for volume in folders(&project)? {
                let Some((_, newest)) = serials(&volume)?.pop() else { continue };
                let about = std::fs::read(newest.join("about.json"))?;
                all.push(serde_json::from_slice(&about).map_err(io::Error::other)?);
            }
        }
        all.sort_by(|a: &Volume, b| (&a.project, &a.name).cmp(&(&b.project, &b.name)));
        Ok(all)
    }

    /// Removes a project's volume of this name, or all of its volumes. The project is its id or its name.
    /// Answers what was removed. Environments that began with one keep their copies.
    ///
    /// # Errors
    /// What the file system answered.
    pub fn remove(&self, project: &str, name: Option<&str>) -> io::Result<Vec<Volume>> {
        let mut all = self.list()?;
        all.retain(|one| one.project_id == project || one.project == project);
        all.retain(|one| name.is_none_or(|name| one.name == name));
        for one in &all {
            let volume = self.folder.join(&one.project_id).join(&one.name);
            // In one step out of the way: whoever looks sees all of it or nothing.
            let making = self.making();
            std::fs::rename(&volume, &making)?;
            remove_folder(&making)?;
        }
        Ok(all)
    }

    /// Fills an environment's own folder, which is empty, with what was left in a volume, for its user; nothing
    /// if nobody left anything. Answers whether somebody did.
    pub(crate) async fn fill(
        &self,
        project_id: &str,
        name: &str,
        to: &Path,
        owner: Option<(u32, u32)>,
    ) -> io::Result<bool> {
        let _turn = self.turn.clone().read_owned().await;
        let (volume, to, by) = (self.volume(project_id, name)?, to.to_owned(), self.by);
        let fill = move || {
            let Some((_, newest)) = serials(&volume)?.pop() else { return Ok(false) };
            fill_for(&newest.join("data"), &to, by, owner, &mut |_, _| {})?;
            Ok(true)
        };
        tokio::task::spawn_blocking(fill).await.map_err(io::Error::other).flatten()
    }

    /// Takes a volume's folder out of an environment that is about to end. Its programs may go on writing until
    /// then.
    pub(crate) fn take(&self, name: &str, from: &Path) -> io::Result<Taken> {
        let making = self.making();
        std::fs::create_dir(&making)?;
        std::fs::rename(from, making.join("data"))?;
        Ok(Taken { making, name: name.to_owned() })
    }

    /// Keeps what was taken, now that nothing writes to it any more, instead of what was kept before. Answers
    /// what it is, or `None` if it is too large to be kept.
    pub(crate) async fn keep(
        &self,
        taken: Taken,
        (project_id, project): (&str, &str),
        kept_at: i64,
    ) -> io::Result<Option<Volume>> {
        let _turn = self.turn.clone().write_owned().await;
        let Taken { making, name } = taken;
        let volume = self.volume(project_id, &name)?;
        let (project_id, project) = (project_id.to_owned(), project.to_owned());
        let keep = move || {
            let (bytes, entries) = size_of(&making.join("data"))?;
            if bytes > LARGEST.0 || entries > LARGEST.1 {
                remove_folder(&making)?;
                return Ok(None);
            }
            let about = Volume { project_id, project, name, bytes, entries, kept_at };
            let text = serde_json::to_vec_pretty(&about).map_err(io::Error::other)?;
            std::fs::write(making.join("about.json"), text)?;
            std::fs::create_dir_all(&volume)?;
            let before = serials(&volume)?;
            let serial = before.last().map_or(1, |(serial, _)| serial + 1);
            std::fs::rename(&making, volume.join(serial.to_string()))?;
            for (_, old) in before {
                remove_folder(&old)?;
            }
            Ok(Some(about))
        };
        tokio::task::spawn_blocking(keep).await.map_err(io::Error::other).flatten()
    }

    fn making(&self) -> PathBuf {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        self.folder.join(format!("making-{}-{serial}", std::process::id()))
    }

    /// Names are a definition's: a stranger's text.
    fn volume(&self, project_id: &str, name: &str) -> io::Result<PathBuf> {
        for part in [project_id, name] {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            if part.is_empty()
                || part.len() > 128
                || part.starts_with('.')
                || !part.chars().all(is_plain)
            {
                let why =
                    format!("`{part}` is no name for a volume: use letters, digits and `_.-`");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
        }
        Ok(self.folder.join(project_id).join(name))
    }
}

/// The folders in a folder, but for those on their way; none if it isn't there.
fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_made = !entry.file_name().to_string_lossy().starts_with("making-");
        if is_made && entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

/// What a folder takes on disk, and how much lies in it.
fn size_of(folder: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let (mut bytes, mut entries) = (0, 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            bytes += metadata.blocks() * 512;
            entries += 1;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok((bytes, entries))
}

/// What was kept of a volume, the newest last.
fn serials(volume: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut serials: Vec<(u64, PathBuf)> = folders(volume)?
        .into_iter()
        .filter_map(|path| Some((path.file_name()?.to_str()?.parse().ok()?, path)))
        .collect();
    serials.sort();
    Ok(serials)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volumes(state: &Path) -> Volumes {
        let by = CopyBy::probe(state).unwrap();
        Volumes::open(state, by).unwrap()
    }

    /// Leaves a volume with one file as an environment does.
    async fn leave(volumes: &Volumes, project: &str, name: &str, text: &str) -> Option<Volume> {
        let environment = tempfile::tempdir_in(&volumes.folder).unwrap();
        let from = environment.path().join("volume-0");
        std::fs::create_dir(&from).unwrap();
        std::fs::write(from.join("file"), text).unwrap();
        let taken = volumes.take(name, &from).unwrap();
        volumes.keep(taken, (project, "shop"), 7).await.unwrap()
    }

    async fn begin(volumes: &Volumes, project: &str, name: &str) -> Option<String> {
        let environment = tempfile::tempdir().unwrap();
        let filled = volumes.fill(project, name, environment.path(), None).await.unwrap();
        let text = std::fs::read_to_string(environment.path().join("file")).ok();
        assert_eq!(filled, text.is_some());
        text
    }

    #[tokio::test]
    async fn an_environment_begins_with_what_the_last_one_of_its_project_left() {
        let state = tempfile::tempdir().unwrap();
        let all = volumes(state.path());
        assert_eq!(begin(&all, "p1", "cache").await, None);
        let kept = leave(&all, "p1", "cache", "one").await.unwrap();
        assert_eq!((kept.name.as_str(), kept.entries, kept.kept_at), ("cache", 1, 7));
        leave(&all, "p1", "cache", "two").await.unwrap();
        leave(&all, "p1", "other", "else").await.unwrap();
        assert_eq!(begin(&all, "p1", "cache").await.as_deref(), Some("two"));
        assert_eq!(begin(&all, "p2", "cache").await, None, "it is another project's");
        let names = |all: &Volumes| -> Vec<String> {
            all.list().unwrap().into_iter().map(|one| one.name).collect()
        };
        assert_eq!(names(&all), ["cache", "other"]);
        assert_eq!(all.remove("shop", Some("cache")).unwrap().len(), 1);
        assert_eq!(all.remove("p2", None).unwrap(), []);
        assert_eq!(begin(&all, "p1", "cache").await, None);
        assert_eq!(names(&all), ["other"]);
    }

    #[tokio::test]
    async fn what_was_on_its_way_when_a_runner_was_killed_is_never_used() {
        let state = tempfile::tempdir().unwrap();
        let all = volumes(state.path());
        leave(&all, "p1", "cache", "whole").await.unwrap();
        let from = state.path().join("volume-0");
        std::fs::create_dir(&from).unwrap();
        std::fs::write(from.join("file"), "half").unwrap();
        let taken = all.take("cache", &from).unwrap();
        assert!(taken.making.exists());
        let again = volumes(state.path());
        assert!(!taken.making.exists());
        assert_eq!(begin(&again, "p1", "cache").await.as_deref(), Some("whole"));
    }

    #[tokio::test]
    async fn a_name_never_leads_out_of_the_folder() {
        let state = tempfile::tempdir().unwrap();
        let all = volumes(state.path());
        for name in ["..", "a/b", "", ".hidden", "a\0b"] {
            let error = all.fill("p1", name, state.path(), None).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }
}
