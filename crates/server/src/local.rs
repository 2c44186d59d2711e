//! The repositories of local projects: one bare repository per project in the data directory, kept in
//! step with the project's source (a path or a URL), served over smart HTTP, and the place where
//! local pull requests live and are merged.
//!
//! | reference | meaning |
//! |---|---|
//! | `refs/windlass/source/heads/*` | the source's branches, as last seen |
//! | `refs/windlass/synced/heads/*` | the source's branches that `refs/heads/*` has taken in |
//! | `refs/heads/windlass/*` | what jobs pushed; the source's branches of such names are not taken in |
//! | `refs/heads/*` | the branches as jobs and pull requests see them |
//! | `refs/windlass/pulls/N/K` | round K of pull request N, so that nothing under review can go away |
//!
//! Everything below `refs/windlass/` is hidden from clients. One task at a time changes a repository's
//! own references: whoever does holds the project's lock.

pub(crate) mod pulls;
pub(crate) mod refresh;
pub(crate) mod source;
pub(crate) mod told;

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use windlass_git::{Address, Error, RefName, Remote, Repository, Signature};
use windlass_run::ProjectId;
use windlass_store::projects::Project;

use crate::{problem::Problem, state::AppState};

pub(crate) use refresh::refresh;

/// How a project says that its pull requests are on the local forge.
pub(crate) const FORGE: &str = "local";

/// What is known of a project's source since the server started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// When the source was last read, in microseconds since the Unix epoch.
    pub(crate) refreshed_at: Option<i64>,
    /// What the source looked like then, where that can be told cheaply.
    pub(crate) trace: Option<u64>,
    /// The branch that the source's HEAD named then.
    pub(crate) default_branch: Option<String>,
    /// Branches that were looked for since and are there.
    pub(crate) branches: BTreeSet<String>,
    /// What a person should know of it.
    pub(crate) notes: Vec<String>,
}

/// One lock per project, with what is known of its source.
#[derive(Default)]
pub(crate) struct Locks {
    locks: Mutex<HashMap<ProjectId, Arc<tokio::sync::Mutex<()>>>>,
    known: Mutex<HashMap<ProjectId, Known>>,
}

impl Locks {
    /// Waits until nobody else changes the project's references.
    pub(crate) async fn lock(&self, project_id: &ProjectId) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.entry(project_id.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }

    /// What is known of a project's source.
    pub(crate) fn known(&self, project_id: &ProjectId) -> Known {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(project_id).cloned().unwrap_or_default()
    }

    fn found(&self, project_id: &ProjectId, branch: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get_mut(project_id) {
            known.branches.insert(branch.to_owned());
        }
    }

    fn learn(&self, project_id: &ProjectId, known: Known) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(project_id.clone(), known);
    }
}

/// Where a project's repository is.
pub(crate) fn directory(app: &AppState, project_id: &ProjectId) -> PathBuf {
    app.data_dir().join("repositories").join(format!("{project_id}.git"))
}

/// A project's repository, which exists since the project was added.
pub(crate) fn repository(app: &AppState, project_id: &ProjectId) -> Result<Repository, Error> {
    app.git().open(&directory(app, project_id))
}

/// Refuses a branch that jobs don't see. What was found once holds until the source moves.
pub(crate) async fn require_branch(
    app: &AppState,
    project: &Project,
    branch: &str,
) -> Result<(), Problem> {
    if app.repositories().known(&project.id).branches.contains(branch) {
        return Ok(());
    }
    let missing = || Error::BranchMissing { place: project.source.clone(), branch: branch.into() };
    let name = RefName::branch(branch)?;
    let repository = repository(app, &project.id)?;
    repository.reference(&name).await?.ok_or_else(missing)?;
    app.repositories().found(&project.id, branch);
    Ok(())
}

/// The source of a project, for git.
pub(crate) fn origin(project: &Project) -> Result<Remote, Error> {
    Address::parse(&project.source).map(Remote::open)
}

/// Who the platform is in commits of its own.
pub(crate) fn platform(app: &AppState) -> Signature {
    Signature {
        name: "Windlass".to_owned(),
        email: "windlass@localhost".to_owned(),
        at: app.now().as_micros(),
    }
}
