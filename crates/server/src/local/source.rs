//! Making a change visible in the repository that a project was added from. Only for a path: it gets
//! a branch below `windlass/`, and its base branch moves only when somebody asks for that, only ahead,
//! and never while it is checked out. No work tree is ever touched. Anything that stands in the way
//! becomes a note for a person, never force.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use windlass_git::{Address, Error, Oid, RefName, Remote};
use windlass_store::projects::Project;

use super::{origin, repository};
use crate::{
    problem::{Code, Problem},
    state::AppState,
};

/// True if the source is a path with a work tree, where uncommitted work may lie about.
pub(crate) fn is_work_tree(source: &str) -> bool {
    match Address::parse(source) {
        Ok(Address::Path(path)) => path.join(".git").exists(),
        Ok(Address::Http(_) | Address::Ssh(_)) | Err(_) => false,
    }
}

/// What the references of a repository on this machine look like, as cheaply as that can be told: the
/// sizes, times and inodes of the files that hold them. The same trace means that nothing has moved;
/// `None` means that it can't be told and git must be asked.
pub(crate) fn trace(source: &str) -> Option<u64> {
    let address = Address::parse(source).ok()?;
    let path = address.as_path()?;
    let inside = path.join(".git");
    let directory = if inside.is_dir() { inside } else { path.to_owned() };
    let mut hash = DefaultHasher::new();
    let mut left = MOST_FILES;
    add(&directory.join("HEAD"), &mut hash, &mut left)?;
    for optional in ["packed-refs", "config"] {
        if directory.join(optional).exists() {
            add(&directory.join(optional), &mut hash, &mut left)?;
        }
    }
    // Other formats keep references elsewhere; git knows.
    if directory.join("reftable").exists() {
        return None;
    }
    add(&directory.join("refs"), &mut hash, &mut left)?;
    Some(hash.finish())
}

/// The most files that a trace looks at.
const MOST_FILES: u32 = 2_000;

fn add(path: &Path, hash: &mut DefaultHasher, left: &mut u32) -> Option<()> {
    *left = left.checked_sub(1)?;
    let metadata = path.symlink_metadata().ok()?;
    path.hash(hash);
    (metadata.len(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec()).hash(hash);
    if metadata.is_dir() {
        let mut entries: Vec<_> = path.read_dir().ok()?.collect::<Result<Vec<_>, _>>().ok()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            add(&entry.path(), hash, left)?;
        }
    }
    Some(())
}

/// Points a branch below `windlass/` in the source to a commit of the project's repository. What is
/// there already is replaced only if the project's repository has it, so nobody's own work is lost.
///
/// # Errors
/// The source is no path; the branch there has work of somebody else, or is checked out.
pub(crate) async fn publish(
    app: &AppState,
    project: &Project,
    branch: &str,
    commit: &Oid,
) -> Result<(), Problem> {
    let remote = path(project)?;
    let name = RefName::branch(branch)?;
    let repository = repository(app, &project.id)?;
    let there = there(app, &remote, &name).await?;
    if let Some(there) = &there
        && !repository.contains(there).await?
    {
        return Err(Problem::new(
            Code::Conflict,
            format!("{branch} at {} has commits that are not known here", project.source),
        ));
    }
    push(&repository, &remote, project, &name, commit, there.as_ref()).await
}

/// Moves a branch of the source ahead to a commit of the project's repository.
///
/// # Errors
/// The source is no path; the branch is not there, is checked out, or is not behind the commit.
pub(crate) async fn advance(
    app: &AppState,
    project: &Project,
    branch: &str,
    commit: &Oid,
) -> Result<(), Problem> {
    let remote = path(project)?;
    let name = RefName::branch(branch)?;
    let repository = repository(app, &project.id)?;
    let Some(there) = there(app, &remote, &name).await? else {
        return Err(Problem::new(
            Code::MissingBranch,
            format!("{} has no branch {branch} to move", project.source),
        ));
    };
    let is_behind =
        repository.contains(&there).await? && repository.is_ancestor(&there, commit).await?;
    if !is_behind {
        return Err(Problem::new(
            Code::Conflict,
            format!("{branch} at {} has commits that are not in the merge", project.source),
        ));
    }
    push(&repository, &remote, project, &name, commit, Some(&there)).await
}

async fn push(
    repository: &windlass_git::Repository,
    remote: &Remote,
    project: &Project,
    name: &RefName,
    commit: &Oid,
    expected: Option<&Oid>,
) -> Result<(), Problem> {
    match repository.push(remote, name, commit, expected).await {
        Ok(_) => Ok(()),
        Err(Error::Rejected { reason, .. }) if reason.contains("checked out") => {
            let branch = name.short_branch().unwrap_or(name.as_str());
            let why = format!(
                "{branch} is checked out at {}, so it was left alone; there, run: git merge --ff-only {commit}",
                project.source
            );
            Err(Problem::new(Code::Conflict, why))
        }
        Err(error) => Err(error.into()),
    }
}

fn path(project: &Project) -> Result<Remote, Problem> {
    let remote = origin(project)?;
    if remote.address.as_path().is_some_and(Path::is_absolute) {
        return Ok(remote);
    }
    let why = format!("{} is no path on this machine, so nothing is written there", project.source);
    Err(Problem::new(Code::Conflict, why))
}

async fn there(app: &AppState, remote: &Remote, name: &RefName) -> Result<Option<Oid>, Error> {
    let advertised = app.git().ls_remote(remote).await?;
    let found = advertised.references.into_iter().find(|reference| reference.name == *name);
    Ok(found.map(|reference| reference.target))
}
