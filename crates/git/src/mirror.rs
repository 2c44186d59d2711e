//! A bare copy of another repository that is kept fresh: the cache that every job on it starts
//! from. One writer at a time by a file lock, across processes. Objects are never dropped from a
//! mirror, because job repositories borrow them.

use std::path::{Path, PathBuf};

use crate::transfer::Advertised;
use crate::{Error, Git, Remote, Repository, Result};

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
        let parent = dir.parent().unwrap_or(Path::new("/"));
        tokio::fs::create_dir_all(parent)
            .await
            .map_err(|error| Error::io(format!("make {}", parent.display()), error))?;
        let _lock = lock(dir).await?;
        let repository = match git.open(dir) {
            Ok(repository) => repository,
            Err(Error::NotARepository { .. }) => git.init(dir).await?,
            Err(error) => return Err(error),
        };
        Ok(Mirror { repository })
    }

    /// The repository, for reading and for borrowing from.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Brings branches, tags and the default branch to what the origin has now. Waits for another
    /// refresh of the same mirror to end. An origin without commits is [`Error::EmptyRepository`].
    pub async fn refresh(&self, origin: &Remote) -> Result<Refreshed> {
        let _lock = lock(self.repository.dir()).await?;
        let advertised = self.repository.git().ls_remote(origin).await?;
        if advertised.references.is_empty() && advertised.head.is_none() {
            return Err(Error::EmptyRepository { place: origin.address.to_string() });
        }
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
        Ok(Refreshed { advertised, changed })
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
