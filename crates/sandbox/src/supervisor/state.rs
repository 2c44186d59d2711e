//! The supervisor's folder on disk, who may own it, and sweeping it after a crash.
//!
//! Nothing in the folder is needed to go on: environments never outlive their supervisor, so what a
//! dead one left is only rubbish.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::{
    cgroup::Hierarchies,
    error::{Error, Result},
    plan::{EnvironmentId, OperationId},
    tree,
};

/// The socket's name in the state folder.
pub(crate) const SOCKET: &str = "supervisor.sock";
const LOCK: &str = "supervisor.lock";
const STARTING: &str = "starting.lock";

/// Waits until no other process is about to become the folder's supervisor; others wait as long as the
/// answer lives.
pub(super) fn await_turn(state_dir: &Path) -> Result<File> {
    prepare_state_dir(state_dir)?;
    let path = state_dir.join(STARTING);
    let named = |error: &dyn std::fmt::Display| {
        Error::io(format!("take turns at {}", path.display()), error)
    };
    let turn = open_lock(&path).map_err(|error| named(&error))?;
    flock(&turn, FlockOperation::LockExclusive).map_err(|error| named(&error))?;
    Ok(turn)
}

fn open_lock(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

/// Makes the state folder, for its owner only; refuses one that belongs to somebody else.
pub(crate) fn prepare_state_dir(state_dir: &Path) -> Result<()> {
    let named = |what: &str, error| Error::io(format!("{what} {}", state_dir.display()), error);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(|error| named("make", error))?;
    let metadata = fs::symlink_metadata(state_dir).map_err(|error| named("look at", error))?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::invalid(format!(
            "{} is not a folder of this user; choose another state folder",
            state_dir.display()
        )));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(state_dir, PermissionsExt::from_mode(0o700))
            .map_err(|error| named("close", error))?;
    }
    Ok(())
}

/// Where the output of an operation is kept below a state folder.
pub(crate) fn spool(state_dir: &Path, id: &EnvironmentId, operation: &OperationId) -> PathBuf {
    state_dir.join("environments").join(id.as_str()).join(format!("{operation}.out"))
}

/// Where an environment's home lies; [`crate::build`] makes it.
pub(crate) fn home(state_dir: &Path, id: &EnvironmentId) -> PathBuf {
    state_dir.join("environments").join(id.as_str()).join("home")
}

/// Where one of an environment's volumes lies.
pub(crate) fn volume(state_dir: &Path, id: &EnvironmentId, index: usize) -> PathBuf {
    let folder = state_dir.join("environments").join(id.as_str());
    folder.join(crate::mounts::volume_name(index))
}

/// What [`sweep`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Folders of environments that were removed.
    pub folders: usize,
    /// Control groups that were removed.
    pub groups: usize,
}

/// Removes what a supervisor that was killed left in its state folder: folders and control groups (its
/// processes and mounts died with it). Does nothing while a supervisor is alive. Every supervisor does
/// this when it starts.
///
/// # Errors
/// [`Error::Io`] when something cannot be removed.
pub fn sweep(state_dir: &Path) -> Result<Swept> {
    if !state_dir.exists() {
        return Ok(Swept::default());
    }
    match StateDir::claim(state_dir, FlockOperation::NonBlockingLockExclusive)? {
        Some(state) => state.sweep(&state.hierarchies()),
        None => Ok(Swept::default()),
    }
}

/// A state folder that this process owns.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    /// Held as long as this process lives; children of a fork close their copy.
    _lock: File,
}

impl StateDir {
    /// Takes the folder over; `None` when another supervisor serves it. One that is ending is waited for.
    pub(super) fn take_over(state_dir: &Path) -> Result<Option<Self>> {
        if let Some(state) = Self::claim(state_dir, FlockOperation::NonBlockingLockExclusive)? {
            return Ok(Some(state));
        }
        if std::os::unix::net::UnixStream::connect(state_dir.join(SOCKET)).is_ok() {
            return Ok(None);
        }
        Self::claim(state_dir, FlockOperation::LockExclusive)
    }

    fn claim(state_dir: &Path, how: FlockOperation) -> Result<Option<Self>> {
        prepare_state_dir(state_dir)?;
        let named = |what: &str, error: &dyn std::fmt::Display| {
            Error::io(format!("{what} {}", state_dir.display()), error)
        };
        let path = state_dir.canonicalize().map_err(|error| named("resolve", &error))?;
        let lock =
            open_lock(&path.join(LOCK)).map_err(|error| named("open the lock in", &error))?;
        match flock(&lock, how) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(named("lock", &error)),
        }
        let state = Self { path, _lock: lock };
        for folder in [state.environments(), state.trash()] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(|error| Error::io(format!("make {}", folder.display()), error))?;
        }
        Ok(Some(state))
    }

    /// Removes what an earlier owner left.
    pub(crate) fn sweep(&self, hierarchies: &Hierarchies) -> Result<Swept> {
        let groups = hierarchies.sweep();
        let mut folders = 0;
        for parent in [self.environments(), self.trash()] {
            let named = |error| Error::io(format!("sweep {}", parent.display()), error);
            for entry in fs::read_dir(&parent).map_err(named)? {
                tree::remove(&entry.map_err(named)?.path()).map_err(named)?;
                folders += 1;
            }
        }
        Ok(Swept { folders, groups })
    }

    /// The host's control groups, under names that only this folder's supervisors use.
    pub(crate) fn hierarchies(&self) -> Hierarchies {
        let mut hasher = DefaultHasher::new();
        self.path.hash(&mut hasher);
        Hierarchies::of_this_process(format!("{:08x}", hasher.finish() & 0xffff_ffff))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    pub(crate) fn environment(&self, id: &EnvironmentId) -> PathBuf {
        self.environments().join(id.as_str())
    }

    pub(crate) fn spool(&self, id: &EnvironmentId, operation: &OperationId) -> PathBuf {
        spool(&self.path, id, operation)
    }

    /// A new name in the trash.
    pub(crate) fn trash_for(&self, id: &EnvironmentId, number: u64) -> PathBuf {
        self.trash().join(format!("{id}.{number}"))
    }

    fn environments(&self) -> PathBuf {
        self.path.join("environments")
    }

    fn trash(&self) -> PathBuf {
        self.path.join("trash")
    }
}
