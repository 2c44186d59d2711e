//! The host's index of a work tree, driven by git's plumbing only. Porcelain such as `git add`
//! would start `git status` inside submodules, where an agent's configuration lies in wait.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{LeftOut, Reason};
use crate::command::Call;
use crate::error::classify;
use crate::{Error, Oid, RepoPath, Repository, Result};

pub(super) struct Index<'a> {
    repository: &'a Repository,
    tree: PathBuf,
    file: PathBuf,
}

impl<'a> Index<'a> {
    pub(super) fn new(repository: &'a Repository, tree: &Path, file: &Path) -> Self {
        Index { repository, tree: tree.to_owned(), file: file.to_owned() }
    }

    pub(super) fn tree(&self) -> &Path {
        &self.tree
    }

    /// An index of its own for a directory of the same tree.
    pub(super) fn nested(&self, dir: &RepoPath, file: &Path) -> Index<'a> {
        Index {
            repository: self.repository,
            tree: self.tree.join(dir.to_os()),
            file: file.to_owned(),
        }
    }

    pub(super) fn call(&self, what: &str) -> Call {
        self.repository
            .call(format!("{what} in {}", self.tree.display()))
            .env("GIT_WORK_TREE", &self.tree)
            .env("GIT_INDEX_FILE", &self.file)
            // The index is ours alone, so what git learns about files may be written down.
            .env("GIT_OPTIONAL_LOCKS", "1")
            .current_dir(&self.tree)
    }

    /// Fills the index from a commit if there is none yet, or if it is damaged.
    pub(super) async fn seed(&mut self, base: &Oid) -> Result<()> {
        if let Some(dir) = self.file.parent() {
            tokio::fs::create_dir_all(dir)
                .await
                .map_err(|error| Error::io(format!("make {}", dir.display()), error))?;
        }
        let usable = self.file.exists()
            && self
                .call("check the index")
                .args(["ls-files", "--cached", "-z"])
                .run_any()
                .await?
                .status
                == 0;
        if !usable {
            if self.file.exists() {
                tokio::fs::remove_file(&self.file)
                    .await
                    .map_err(|error| Error::io(format!("remove {}", self.file.display()), error))?;
            }
            self.call("read the base").args(["read-tree", "--empty"]).run().await?;
            self.call("read the base")
                .args(["read-tree", "--no-recurse-submodules"])
                .arg(base.as_str())
                .run()
                .await?;
        }
        Ok(())
    }

    /// Takes paths out of the index.
    pub(super) async fn remove(&self, paths: &[RepoPath]) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        self.call("record deletions")
            .args(["update-index", "--force-remove", "-z", "--stdin"])
            .stdin(lines(paths))
            .run()
            .await?;
        Ok(())
    }

    /// Takes files into the index. Paths that git refuses are found by halving and reported.
    pub(super) async fn add(&self, paths: Vec<RepoPath>) -> Result<Vec<LeftOut>> {
        let mut left_out = Vec::new();
        let mut pending = vec![paths];
        while let Some(mut batch) = pending.pop() {
            if batch.is_empty() {
                continue;
            }
            let output = self
                .call("record files")
                .args(["update-index", "--add", "--replace", "-z", "--stdin"])
                .stdin(lines(&batch))
                .run_any()
                .await?;
            if output.status == 0 {
                if output.stderr.contains("Ignoring path ") {
                    left_out.extend(self.missing(batch).await?);
                }
                continue;
            }
            let error = classify(
                "record files",
                &self.tree.display().to_string(),
                output.status,
                &output.stderr,
            );
            match (error, batch.len()) {
                (Error::Failed { detail, .. }, 1) => left_out.extend(
                    batch.pop().map(|path| LeftOut { path, reason: Reason::Refused(detail) }),
                ),
                (Error::Failed { .. }, _) => {
                    let second = batch.split_off(batch.len() / 2);
                    pending.push(batch);
                    pending.push(second);
                }
                (error, _) => return Err(error),
            }
        }
        Ok(left_out)
    }

    /// Those of `paths` that git passed over without failing: it never takes `.GIT/config` and other
    /// names that would do harm on another system.
    async fn missing(&self, paths: Vec<RepoPath>) -> Result<Vec<LeftOut>> {
        let output =
            self.call("list tracked files").args(["ls-files", "--cached", "-z"]).run().await?;
        let present: HashSet<&[u8]> = output.stdout.split(|&byte| byte == 0).collect();
        let missing = paths.into_iter().filter(|path| !present.contains(path.as_bytes()));
        let reason = || Reason::Refused("git does not take files of this name".to_owned());
        Ok(missing.map(|path| LeftOut { path, reason: reason() }).collect())
    }

    pub(super) async fn write_tree(&self) -> Result<Oid> {
        let output = self.call("write the tree").arg("write-tree").run().await?;
        Oid::parse(output.text().trim())
    }
}

fn lines(paths: &[RepoPath]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for path in paths {
        bytes.extend_from_slice(path.as_bytes());
        bytes.push(0);
    }
    bytes
}
