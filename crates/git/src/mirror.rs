//! A bare copy of another repository that is kept fresh: the cache that every job on it starts
//! from. One writer at a time by a file lock, across processes. Objects are never dropped from a
//! mirror, because job repositories borrow them. A mirror is made beside its place and renamed into
//! it, so that what stands there is whole.

use std::path::{Path, PathBuf};

use crate::transfer::Advertised;
use crate::{Error, Git, Oid, Remote, Repository, Result};

/// What the name of a mirror ends with while it is being made.
const MAKING: &str = ".making";

/// A mirror and the lock beside it.
#[derive(Clone, Debug)]
pub struct Mirror {
    repository: Repository,
}

/// What a refresh found.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// What the origin has.
    pub advertised: Advertised,
    /// Whether anything had changed since the last refresh.
    pub changed: bool,
}

impl Mirror {
    /// The mirror at `dir`, made if there is none. It is empty until the first refresh.
    pub async fn open(git: &Git, dir: &Path) -> Result<Mirror> {
        if let Ok(repository) = git.open(dir) {
            return Ok(Mirror { repository });
        }
        let parent = dir.parent().unwrap_or(Path::new("/"));
        tokio::fs::create_dir_all(parent)
            .await
            .map_err(|error| Error::io(format!("make {}", parent.display()), error))?;
        let _lock = lock(dir).await?;
        let repository = match git.open(dir) {
            Ok(repository) => repository,
            Err(Error::NotARepository { .. }) => make(git, dir).await?,
            Err(error) => return Err(error),
        };
        Ok(Mirror { repository })
    }

    /// Removes what a killed process left of mirrors in a folder: those that were being made, and
    /// packs that were being received. Nobody may be at work there. Answers how many things it was.
    pub async fn sweep(folder: &Path) -> Result<usize> {
        let folder = folder.to_owned();
        let what = format!("sweep {}", folder.display());
        let swept = tokio::task::spawn_blocking(move || sweep_now(&folder)).await;
        swept
            .map_err(|error| Error::io(what.clone(), std::io::Error::other(error)))?
            .map_err(|error| Error::io(what, error))
    }

    /// The repository, for reading and for borrowing from.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Brings branches, tags and the default branch to what the origin has now. Waits for another
    /// refresh of the same mirror to end. An origin without commits is [`Error::EmptyRepository`].
    pub async fn refresh(&self, origin: &Remote) -> Result<Refreshed> {
        let _lock = lock(self.repository.dir()).await?;
        let advertised = self.look(origin).await?;
        let changed = self.take(origin, &advertised).await?;
        Ok(Refreshed { advertised, changed })
    }

    /// What the origin has now, without taking anything: a start that finds its commit here already
    /// needs no more. An origin without commits is [`Error::EmptyRepository`].
    pub async fn look(&self, origin: &Remote) -> Result<Advertised> {
        let advertised = self.repository.git().ls_remote(origin).await?;
        if advertised.references.is_empty() && advertised.head.is_none() {
            return Err(Error::EmptyRepository { place: origin.address.to_string() });
        }
        Ok(advertised)
    }

    /// Takes one commit that no branch may have any more. Waits for a refresh to end.
    pub async fn fetch_commit(&self, origin: &Remote, commit: &Oid) -> Result<()> {
        let _lock = lock(self.repository.dir()).await?;
        if self.repository.contains(commit).await? {
            return Ok(());
        }
        self.repository.fetch(origin, &[commit.as_str()], false).await
    }

    async fn take(&self, origin: &Remote, advertised: &Advertised) -> Result<bool> {
        let mut theirs = advertised.references.clone();
        theirs.sort_by(|a, b| a.name.cmp(&b.name));
        let changed = self.present().await? != theirs;
        if changed {
            // Whoever held the lock before may have been killed in the middle of a fetch.
            self.repository.remove_stale_locks().await?;
            self.repository
                .fetch(origin, &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"], true)
                .await?;
        }
        if let Some(head) = advertised.head.as_ref().filter(|_| advertised.default_branch.is_none())
            && !self.repository.contains(head).await?
        {
            self.repository.fetch(origin, &["+HEAD:refs/windlass/origin-head"], false).await?;
        }
        if let Some(branch) = &advertised.default_branch {
            self.repository.set_default_branch(branch).await?;
        }
        Ok(changed)
    }

    /// Packs loose objects and writes the commit graph. Drops nothing.
    pub async fn maintain(&self) -> Result<()> {
        let _lock = lock(self.repository.dir()).await?;
        let limit = self.repository.git().options().transfer_limit;
        self.repository
            .call("pack the mirror")
            .args(["repack", "-d", "-l", "-q", "--geometric=2"])
            .limit(limit)
            .run()
            .await?;
        self.repository
            .call("write the commit graph")
            .args([
                "commit-graph",
                "write",
                "--reachable",
                "--changed-paths",
                "--split",
                "--no-progress",
            ])
            .limit(limit)
            .run()
            .await?;
        Ok(())
    }

    async fn present(&self) -> Result<Vec<crate::repository::Reference>> {
        let mut present = self.repository.references("refs/heads/").await?;
        present.extend(self.repository.references("refs/tags/").await?);
        present.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(present)
    }
}

/// Makes an empty mirror beside its place and puts it there whole. The caller holds the lock.
async fn make(git: &Git, dir: &Path) -> Result<Repository> {
    let mut beside = dir.as_os_str().to_owned();
    beside.push(MAKING);
    let beside = PathBuf::from(beside);
    let removed = |path: &Path| match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()), error))
        }
        _ => Ok(()),
    };
    removed(&beside)?;
    let made = git.init(&beside).await?;
    // Whatever else works on it, in whichever version of git: borrowers need every object.
    for (key, value) in
        [("gc.auto", "0"), ("gc.pruneExpire", "never"), ("maintenance.auto", "false")]
    {
        made.call("configure the mirror").args(["config", key, value]).run().await?;
    }
    // Something is there that is no repository: the beginnings of one, from before mirrors were renamed.
    removed(dir)?;
    tokio::fs::rename(&beside, dir)
        .await
        .map_err(|error| Error::io(format!("put a mirror at {}", dir.display()), error))?;
    git.open(dir)
}

fn sweep_now(folder: &Path) -> std::io::Result<usize> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut swept = 0;
    for entry in entries {
        let path = entry?.path();
        if path.as_os_str().as_encoded_bytes().ends_with(MAKING.as_bytes()) {
            std::fs::remove_dir_all(&path)?;
            swept += 1;
            continue;
        }
        let Ok(packs) = std::fs::read_dir(path.join("objects/pack")) else { continue };
        for file in packs {
            let file = file?;
            if file.file_name().as_encoded_bytes().starts_with(b"tmp_") {
                std::fs::remove_file(file.path())?;
                swept += 1;
            }
        }
    }
    Ok(swept)
}

/// Takes the lock beside a repository; it is released when the file is dropped, also by a crash.
async fn lock(dir: &Path) -> Result<std::fs::File> {
    let mut path = dir.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let what = format!("lock {}", path.display());
    let task = tokio::task::spawn_blocking(move || {
        let file =
            std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        file.lock()?;
        Ok(file)
    });
    task.await
        .map_err(|error| Error::io(what.clone(), std::io::Error::other(error)))?
        .map_err(|error| Error::io(what, error))
}
