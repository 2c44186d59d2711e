//! Finds what differs between an index and a work tree, and sorts it into what is taken, what is
//! gone and what is left out. Reads metadata only; no file is opened here.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::index::Index;
use super::{LeftOut, Options, Reason};
use crate::{Error, RepoPath, Result};

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) present: Vec<RepoPath>,
    pub(super) gone: Vec<RepoPath>,
    pub(super) left_out: Vec<LeftOut>,
}

pub(super) async fn find_changes(index: &Index<'_>, options: &Options) -> Result<Found> {
    let mut found = Found::default();
    let mut budget = Budget { bytes: options.total_bytes, files: options.files, options };
    let submodules = submodules(index).await?;
    for path in &submodules {
        look_at_submodule(index.tree(), path, &mut found, &mut budget)?;
    }
    for path in differing(index).await? {
        if !submodules.contains(&path) {
            look_at_file(index.tree(), path, &mut found, &mut budget)?;
        }
    }
    let mut queue = others(index, options, &mut found.left_out).await?;
    while let Some(path) = queue.pop() {
        match path.as_bytes().strip_suffix(b"/") {
            // A repository inside the tree: git stops there. Its files are work too.
            Some(dir) => queue.extend(
                others_of_nested(index, &RepoPath::from_bytes(dir), options, &mut found.left_out)
                    .await?,
            ),
            None if submodules.contains(&path) => {}
            None => look_at_file(index.tree(), path, &mut found, &mut budget)?,
        }
    }
    Ok(found)
}

/// The directories above `paths` that are repositories of their own.
pub(super) fn nested_repositories<'a>(
    tree: &Path,
    paths: impl Iterator<Item = &'a RepoPath>,
) -> Vec<RepoPath> {
    let mut seen: BTreeMap<RepoPath, bool> = BTreeMap::new();
    for path in paths {
        let slashes = path.as_bytes().iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (at, _) in slashes {
            let dir = RepoPath::from_bytes(&path.as_bytes()[..at]);
            seen.entry(dir).or_insert_with_key(|dir| {
                tree.join(dir.to_os()).join(".git").symlink_metadata().is_ok()
            });
        }
    }
    seen.into_iter().filter_map(|(dir, nested)| nested.then_some(dir)).collect()
}

struct Budget<'a> {
    bytes: u64,
    files: usize,
    options: &'a Options,
}

impl Budget<'_> {
    /// Whether a path is taken. What is not is reported; what exceeds the whole is an error.
    fn admits(
        &mut self,
        tree: &Path,
        path: &RepoPath,
        left_out: &mut Vec<LeftOut>,
    ) -> Result<bool> {
        let Ok(metadata) = tree.join(path.to_os()).symlink_metadata() else { return Ok(false) };
        let kind = metadata.file_type();
        let mut leave = |reason| {
            left_out.push(LeftOut { path: path.clone(), reason });
            Ok(false)
        };
        if !kind.is_file() && !kind.is_symlink() {
            return leave(Reason::Special);
        }
        if metadata.len() > self.options.file_bytes {
            return leave(Reason::TooLarge(metadata.len()));
        }
        let too_large = |what: &str, limit, unit| {
            Err(Error::TooLarge {
                what: format!("the change in {} ({what})", tree.display()),
                limit,
                unit,
            })
        };
        let Some(files) = self.files.checked_sub(1) else {
            return too_large(
                "is a build directory missing from .gitignore?",
                self.options.files as u64,
                "files",
            );
        };
        let Some(bytes) = self.bytes.checked_sub(metadata.len()) else {
            return too_large(
                "is a build directory missing from .gitignore?",
                self.options.total_bytes,
                "bytes",
            );
        };
        (self.files, self.bytes) = (files, bytes);
        Ok(true)
    }
}

/// Sorts one path that git says is new or differs.
fn look_at_file(
    tree: &Path,
    path: RepoPath,
    found: &mut Found,
    budget: &mut Budget<'_>,
) -> Result<()> {
    let metadata = tree.join(path.to_os()).symlink_metadata();
    // A path behind a link lies outside of what the tree holds, even if something is there.
    if metadata.is_err() || is_behind_link(tree, &path) {
        found.gone.push(path);
    } else if metadata.is_ok_and(|metadata| metadata.is_dir()) {
        // A directory where a file was: its files come by themselves.
        found.gone.push(path);
    } else if budget.admits(tree, &path, &mut found.left_out)? {
        found.present.push(path);
    } else if matches!(found.left_out.last(), Some(LeftOut { path: left, reason: Reason::Special }) if *left == path)
    {
        found.gone.push(path);
    }
    Ok(())
}

fn look_at_submodule(
    tree: &Path,
    path: &RepoPath,
    found: &mut Found,
    budget: &mut Budget<'_>,
) -> Result<()> {
    let place = tree.join(path.to_os());
    match place.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() && !is_behind_link(tree, path) => {
            let empty = std::fs::read_dir(&place).is_ok_and(|mut entries| entries.next().is_none());
            if !empty {
                found.left_out.push(LeftOut { path: path.clone(), reason: Reason::Submodule });
            }
            Ok(())
        }
        Ok(_) | Err(_) => look_at_file(tree, path.clone(), found, budget),
    }
}

fn is_behind_link(tree: &Path, path: &RepoPath) -> bool {
    let mut place = tree.to_owned();
    let parts: Vec<&[u8]> = path.as_bytes().split(|&byte| byte == b'/').collect();
    parts[..parts.len() - 1].iter().any(|part| {
        place.push(std::ffi::OsStr::from_bytes(part));
        place.symlink_metadata().map_or(true, |metadata| !metadata.is_dir())
    })
}

async fn submodules(index: &Index<'_>) -> Result<BTreeSet<RepoPath>> {
    let output = index.call("list tracked files").args(["ls-files", "--stage", "-z"]).run().await?;
    let entries = records(&output.stdout).filter_map(|entry| entry.strip_prefix(b"160000 "));
    let path = |entry: &[u8]| {
        entry
            .iter()
            .position(|&byte| byte == b'\t')
            .map(|tab| RepoPath::from_bytes(&entry[tab + 1..]))
    };
    Ok(entries.filter_map(path).collect())
}

/// The tracked paths whose metadata says that they may differ.
async fn differing(index: &Index<'_>) -> Result<Vec<RepoPath>> {
    let output = index
        .call("compare files")
        .args(["diff-files", "--name-only", "-z", "--no-ext-diff", "--ignore-submodules=all"])
        .run()
        .await?;
    Ok(records(&output.stdout).map(RepoPath::from_bytes).collect())
}

/// The paths that are not tracked and not ignored. A repository inside the tree is one path that
/// ends with a slash.
async fn others(
    index: &Index<'_>,
    options: &Options,
    left_out: &mut Vec<LeftOut>,
) -> Result<Vec<RepoPath>> {
    let output = index
        .call("list new files")
        .args(["ls-files", "--others", "--exclude-standard", "-z"])
        .args(options.excludes.iter().map(|pattern| format!("--exclude={pattern}")))
        .run()
        .await?;
    // A directory that cannot be read would otherwise vanish without a word.
    for line in output.stderr.lines() {
        let named = line
            .split_once("could not open directory '")
            .and_then(|(_, rest)| rest.split_once("': "));
        if let Some((path, why)) = named {
            let path = RepoPath::from_bytes(path.trim_end_matches('/'));
            left_out.push(LeftOut { path, reason: Reason::Refused(why.to_owned()) });
        }
    }
    Ok(records(&output.stdout).map(RepoPath::from_bytes).collect())
}

async fn others_of_nested(
    index: &Index<'_>,
    dir: &RepoPath,
    options: &Options,
    left_out: &mut Vec<LeftOut>,
) -> Result<Vec<RepoPath>> {
    let scratch =
        tempfile::tempdir().map_err(|error| Error::io("make a temporary directory", error))?;
    let nested = index.nested(dir, &scratch.path().join("index"));
    let mut inner = Vec::new();
    let files = others(&nested, options, &mut inner).await?;
    left_out.extend(
        inner.into_iter().map(|left| LeftOut { path: dir.join(&left.path), reason: left.reason }),
    );
    Ok(files.into_iter().map(|path| dir.join(&path)).collect())
}

fn records(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| byte == 0).filter(|record| !record.is_empty())
}
