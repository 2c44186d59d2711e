//! The state of a work tree, taken from outside. This is how work leaves an environment, so it
//! trusts nothing in the tree: the tree's own `.git` is never opened (its configuration, hooks,
//! file-system monitor and alternates could run or read anything), attributes can name no filter
//! that exists, submodules are not entered, nothing outside the tree is followed to.
//!
//! The index lives on the host's side too. It makes the next snapshot of the same tree cheap: only
//! files whose metadata changed are read again.
//!
//! The caller keeps the tree still meanwhile (frozen or ended processes): git checks each path
//! before it reads it, but a process that swaps a directory for a link between the two could make
//! it read elsewhere.

use std::path::{Component, Path, PathBuf};

use crate::object::Signature;
use crate::{Error, Oid, RepoPath, Repository, Result};

mod index;
mod walk;

/// A work tree and the index that the host keeps for it.
#[derive(Clone, Debug)]
pub struct WorkTree {
    /// The tree's root.
    pub path: PathBuf,
    /// The index's file, outside the tree. Made by the first snapshot, or by a checkout.
    pub index: PathBuf,
}

/// What to take.
#[derive(Clone, Debug)]
pub struct Options {
    /// Patterns of `.gitignore` kind for paths that are left out, on top of the tree's own
    /// `.gitignore` files. They only concern files that the base does not have.
    pub excludes: Vec<String>,
    /// A file larger than this is left out and reported, in bytes.
    pub file_bytes: u64,
    /// More new and changed bytes than this altogether are an error.
    pub total_bytes: u64,
    /// More new and changed files than this are an error.
    pub files: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { excludes: Vec::new(), file_bytes: 50 << 20, total_bytes: 1 << 30, files: 50_000 }
    }
}

/// A work tree, taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The tree object that holds it.
    pub tree: Oid,
    /// What differs from the base, by path.
    pub changed: Vec<Changed>,
    /// What is in the tree and not in the snapshot. Never silently: show it to a person.
    pub left_out: Vec<LeftOut>,
    /// Directories that are repositories of their own. Their files were taken as plain files, their
    /// history was not.
    pub nested: Vec<RepoPath>,
}

/// One path that differs from the base.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Changed {
    /// The path.
    pub path: RepoPath,
    /// How it differs.
    pub kind: ChangeKind,
}

/// How a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// Its content or mode changed.
    Modified,
    /// It became another kind of thing (a file became a link, ...).
    Retyped,
    /// It is gone.
    Deleted,
}

/// A path that was left out of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LeftOut {
    /// The path.
    pub path: RepoPath,
    /// Why.
    pub reason: Reason,
}

/// Why a path was left out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is larger than the limit; its size in bytes.
    TooLarge(u64),
    /// It is a pipe, socket or device.
    Special,
    /// It lies in a submodule, whose work belongs to another repository.
    Submodule,
    /// It could not be read, or git refuses its name (`.GIT/config` and the like); git's words.
    Refused(String),
}

/// A commit to make.
#[derive(Clone, Debug)]
pub struct NewCommit {
    /// Its tree.
    pub tree: Oid,
    /// Its parents, first parent first.
    pub parents: Vec<Oid>,
    /// Who made the work.
    pub author: Signature,
    /// Who made the commit.
    pub committer: Signature,
    /// The message.
    pub message: String,
}

impl Repository {
    /// Takes the state of a work tree into this repository as a tree object. `base` is the commit
    /// that the tree was made from; it must be here. Only regular files and symbolic links are
    /// taken; links are taken as links.
    pub async fn snapshot(
        &self,
        tree: &WorkTree,
        base: &Oid,
        options: &Options,
    ) -> Result<Snapshot> {
        check_place(tree)?;
        remove_stale_lock(&tree.index).await?;
        let mut index = index::Index::new(self, &tree.path, &tree.index);
        index.seed(base).await?;
        let found = walk::find_changes(&index, options).await?;
        let mut left_out = found.left_out;
        index.remove(&found.gone).await?;
        left_out.extend(index.add(found.present).await?);
        let id = index.write_tree().await?;
        let changed = self.changed_paths(base, &id).await?;
        let nested =
            walk::nested_repositories(&tree.path, changed.iter().map(|changed| &changed.path));
        left_out.sort_by(|a, b| a.path.cmp(&b.path));
        left_out.dedup();
        Ok(Snapshot { tree: id, changed, left_out, nested })
    }

    /// The tree of a commit with these files put in, in place of what was there. `scratch` is a folder
    /// of the caller's own, empty, where files and an index lie meanwhile.
    ///
    /// # Errors
    /// A path that git refuses, or one that needs a folder where the commit has a file.
    pub async fn with_files(
        &self,
        base: &Oid,
        files: &[(RepoPath, Vec<u8>)],
        scratch: &Path,
    ) -> Result<Oid> {
        let place = scratch.join("files");
        let mut index = index::Index::new(self, &place, &scratch.join("index"));
        let made = |error| Error::io(format!("make {}", place.display()), error);
        tokio::fs::create_dir_all(&place).await.map_err(made)?;
        index.seed(base).await?;
        for (path, bytes) in files {
            let is_inside =
                path.to_os().components().all(|part| matches!(part, Component::Normal(_)));
            if !is_inside {
                let why = "it does not lie inside of the repository".to_owned();
                return Err(Error::Invalid { what: format!("the path `{path}`"), why });
            }
            let file = place.join(path.to_os());
            let folder = file.parent().unwrap_or(&place);
            let failed = |error| Error::io(format!("write {}", file.display()), error);
            tokio::fs::create_dir_all(folder).await.map_err(failed)?;
            tokio::fs::write(&file, bytes).await.map_err(failed)?;
        }
        let paths = files.iter().map(|(path, _)| path.clone()).collect();
        if let Some(refused) = index.add(paths).await?.into_iter().next() {
            let why = format!("it can't be put in: {:?}", refused.reason);
            return Err(Error::Invalid { what: format!("the path `{}`", refused.path), why });
        }
        index.write_tree().await
    }

    /// Makes a commit. The same input gives the same commit.
    pub async fn commit(&self, commit: &NewCommit) -> Result<Oid> {
        commit.author.check()?;
        commit.committer.check()?;
        if commit.message.contains('\0') {
            return Err(Error::Invalid {
                what: "the commit message".to_owned(),
                why: "contains a NUL character".to_owned(),
            });
        }
        let mut call = self.call("make a commit").arg("commit-tree").arg(commit.tree.as_str());
        for parent in &commit.parents {
            call = call.arg("-p").arg(parent.as_str());
        }
        let mut message = commit.message.clone();
        if !message.ends_with('\n') {
            message.push('\n');
        }
        let output = call
            .args(["-F", "-"])
            .env("GIT_AUTHOR_NAME", &commit.author.name)
            .env("GIT_AUTHOR_EMAIL", &commit.author.email)
            .env("GIT_AUTHOR_DATE", commit.author.date())
            .env("GIT_COMMITTER_NAME", &commit.committer.name)
            .env("GIT_COMMITTER_EMAIL", &commit.committer.email)
            .env("GIT_COMMITTER_DATE", commit.committer.date())
            .stdin(message)
            .run()
            .await?;
        Oid::parse(output.text().trim())
    }

    /// The tree of a commit.
    pub async fn tree_of(&self, commit: &Oid) -> Result<Oid> {
        let output = self
            .call(format!("read {commit}"))
            .args(["rev-parse", "--verify", "--quiet"])
            .arg(format!("{commit}^{{tree}}"))
            .run_any()
            .await?;
        if output.status != 0 {
            return Err(Error::Missing { what: format!("commit {commit}") });
        }
        Oid::parse(output.text().trim())
    }

    /// The paths that differ between two commits or trees, without renames.
    pub async fn changed_paths(&self, from: &Oid, to: &Oid) -> Result<Vec<Changed>> {
        let output = self
            .call("compare trees")
            .args([
                "diff-tree",
                "-r",
                "-z",
                "--name-status",
                "--no-renames",
                "--no-ext-diff",
                "--ignore-submodules=none",
            ])
            .args([from.as_str(), to.as_str()])
            .run()
            .await?;
        let mut fields = output.stdout.split(|&byte| byte == 0).filter(|field| !field.is_empty());
        let mut changed = Vec::new();
        while let (Some(status), Some(path)) = (fields.next(), fields.next()) {
            let kind = match status {
                b"A" => ChangeKind::Added,
                b"D" => ChangeKind::Deleted,
                b"T" => ChangeKind::Retyped,
                _ => ChangeKind::Modified,
            };
            changed.push(Changed { path: RepoPath::from_bytes(path), kind });
        }
        Ok(changed)
    }
}

fn check_place(tree: &WorkTree) -> Result<()> {
    crate::repository::check_absolute(&tree.path)?;
    crate::repository::check_absolute(&tree.index)?;
    if tree.index.starts_with(&tree.path) {
        return Err(Error::invalid(
            tree.index.display(),
            "must lie outside the work tree, where no agent can write",
        ));
    }
    if tree.path.is_dir() {
        Ok(())
    } else {
        Err(Error::Missing { what: format!("the work tree {}", tree.path.display()) })
    }
}

/// A snapshot that was killed leaves a lock; two snapshots of one tree never run at once.
async fn remove_stale_lock(index: &Path) -> Result<()> {
    let mut lock = index.as_os_str().to_owned();
    lock.push(".lock");
    match tokio::fs::remove_file(&lock).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", lock.display()), error))
        }
        _ => Ok(()),
    }
}
