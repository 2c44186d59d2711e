//! A job's repository on this machine: the project's mirror brought up to date, and a bare repository
//! that borrows from it and holds the job's checkpoints. No environment can reach either.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use windlass_git::{Address, Credential, Error, Git, Mirror, Oid, RefName, Remote, Repository};
use windlass_run::{JobId, ProjectId, job::Report};
use windlass_wire::runner as wire;

use super::Workshop;
use crate::{
    client,
    executor::Unopened,
    job::{Job, failed},
    link::Backoff,
};

/// The largest checkpoint that is taken back.
const CHECKPOINT_BYTES: u64 = 2 << 30;
/// How often a repository that can't be reached is tried.
const TRIES: u32 = 20;

/// A job's repository.
pub(crate) struct JobRepository {
    /// Whose it is.
    pub(crate) project: ProjectId,
    pub(crate) repository: Repository,
    /// The commit that the work starts from.
    pub(crate) base: Oid,
    /// The newest checkpoint, or the base.
    pub(crate) tip: Oid,
    pub(crate) remote: Remote,
    /// What the repository borrows from.
    pub(crate) mirror: Repository,
}

/// Where the repository of a job lies.
pub(crate) fn dir(state_dir: &Path, job_id: &JobId) -> PathBuf {
    state_dir.join("repositories").join(format!("{job_id}.git"))
}

/// Gets the repository with everything that earlier leases did, and reports the base commit.
pub(crate) async fn get(workshop: &Arc<Workshop>, job: &Job) -> Result<JobRepository, Unopened> {
    let Some(wanted) = &job.repository else {
        return Err(end("repository", "The server named no repository for this job."));
    };
    let git = workshop.git_for(&wanted.url).clone();
    let mut backoff = Backoff::default();
    let mut tries = 0;
    loop {
        tries += 1;
        match attempt(workshop, job, wanted, &git).await {
            Ok(repository) => return Ok(repository),
            Err(Trouble::Git(error)) if error.is_transient() && tries < TRIES => {
                tracing::debug!(%error, job_id = %job.job_id, "the repository can't be reached and is tried again");
                tokio::time::sleep(backoff.next()).await;
            }
            Err(Trouble::Git(error)) => return Err(of_git(error)),
            Err(Trouble::Other(unopened)) => return Err(unopened),
        }
    }
}

enum Trouble {
    Git(Error),
    Other(Unopened),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Git(error)
    }
}

async fn attempt(
    workshop: &Arc<Workshop>,
    job: &Job,
    wanted: &wire::Repository,
    git: &Git,
) -> Result<JobRepository, Trouble> {
    let state_dir = &workshop.options.state_dir;
    let credential = Credential::basic(wanted.username.clone(), wanted.credential.clone());
    let remote = Remote::with(Address::parse(&wanted.url)?, credential);
    let mirror_dir = mirror_dir(workshop, &wanted.project_id);
    make_dirs(&mirror_dir)?;
    let mirror = Mirror::open(git, &mirror_dir).await?;
    let known =
        job.look(|state| state.base_commit.clone().or_else(|| state.spec.target.commit.clone()));
    let base = match known {
        Some(commit) => Oid::parse(&commit)?,
        None => {
            let branch = job.look(|state| state.spec.target.base.clone());
            mirror.look(&remote).await?.require_branch(&branch)?.clone()
        }
    };
    if mirror.repository().contains(&base).await? {
        // The job has what it needs; what else is new is for the next one.
        workshop.refresh_beside(mirror.clone(), remote.clone());
    } else {
        mirror.refresh(&remote).await?;
        mirror.fetch_commit(&remote, &base).await?;
    }
    let dir = dir(state_dir, &job.job_id);
    make_dirs(&dir)?;
    let repository = git.init_borrowing(&dir, mirror.repository()).await?;
    repository.remove_stale_locks().await?;
    if job.look(|state| state.base_commit.is_none()) {
        let reported = job.report(Report::Base { commit: base.to_string() });
        reported.map_err(|error| Trouble::Other(Unopened::GiveBack(error.to_string())))?;
    }
    let tip = restore(job, &repository, &dir).await?.unwrap_or_else(|| base.clone());
    let (project, mirror) = (wanted.project_id.clone(), mirror.repository().clone());
    Ok(JobRepository { project, repository, base, tip, remote, mirror })
}

/// Gets the repository of an environment that lives by itself: the mirror brought up to date, and the
/// commit that its work tree begins with, which is `base` if it has begun.
pub(crate) async fn for_environment(
    workshop: &Arc<Workshop>,
    wanted: &wire::Repository,
    branch: &str,
    base: Option<&str>,
    folder: &Path,
) -> Result<JobRepository, Unopened> {
    let mut backoff = Backoff::default();
    let mut tries = 0;
    loop {
        tries += 1;
        match attempt_for_environment(workshop, wanted, branch, base, folder).await {
            Ok(repository) => return Ok(repository),
            Err(Trouble::Git(error)) if error.is_transient() && tries < TRIES => {
                tracing::debug!(%error, "the repository can't be reached and is tried again");
                tokio::time::sleep(backoff.next()).await;
            }
            Err(Trouble::Git(error)) => return Err(of_git(error)),
            Err(Trouble::Other(unopened)) => return Err(unopened),
        }
    }
}

async fn attempt_for_environment(
    workshop: &Arc<Workshop>,
    wanted: &wire::Repository,
    branch: &str,
    base: Option<&str>,
    folder: &Path,
) -> Result<JobRepository, Trouble> {
    let git = workshop.git_for(&wanted.url);
    let credential = Credential::basic(wanted.username.clone(), wanted.credential.clone());
    let remote = Remote::with(Address::parse(&wanted.url)?, credential);
    let mirror_dir = mirror_dir(workshop, &wanted.project_id);
    make_dirs(&mirror_dir)?;
    let mirror = Mirror::open(git, &mirror_dir).await?;
    let base = match base {
        // It has all it needs; a remote that is away does not keep it from starting.
        Some(base) => Oid::parse(base)?,
        None => {
            let tip = mirror.look(&remote).await?.require_branch(branch)?.clone();
            if mirror.repository().contains(&tip).await? {
                // It has what it needs; what else is new is for the next one.
                workshop.refresh_beside(mirror.clone(), remote.clone());
            } else {
                mirror.refresh(&remote).await?;
                mirror.fetch_commit(&remote, &tip).await?;
            }
            tip
        }
    };
    let repository = kept(workshop, &wanted.project_id, folder).await?;
    let tip = base.clone();
    let (project, mirror) = (wanted.project_id.clone(), mirror.repository().clone());
    Ok(JobRepository { project, repository, base, tip, remote, mirror })
}

/// The repository in an environment's folder that holds its work as commits.
pub(crate) async fn kept(
    workshop: &Workshop,
    project_id: &ProjectId,
    folder: &Path,
) -> windlass_git::Result<Repository> {
    let mirror = Mirror::open(&workshop.git, &mirror_dir(workshop, project_id)).await?;
    let dir = folder.join("repository.git");
    let repository = workshop.git.init_borrowing(&dir, mirror.repository()).await?;
    repository.remove_stale_locks().await?;
    Ok(repository)
}

fn mirror_dir(workshop: &Workshop, project_id: &ProjectId) -> PathBuf {
    workshop.options.state_dir.join("mirrors").join(format!("{project_id}.git"))
}

/// Brings back the checkpoints of earlier steps, from this machine or from the server. The newest one.
async fn restore(job: &Job, repository: &Repository, dir: &Path) -> Result<Option<Oid>, Trouble> {
    let made: Vec<_> = job.look(|state| {
        let made = state.checkpoints();
        made.map(|(step, commit)| (step.id.clone(), commit.to_owned())).collect()
    });
    let mut newest = None;
    for (step_id, commit) in made {
        let tip = Oid::parse(&commit)?;
        let reference = RefName::checkpoint(job.job_id.as_str(), step_id.as_str())?;
        if repository.reference(&reference).await?.as_ref() != Some(&tip) {
            let kept =
                job.checkpoints.iter().any(|kept| kept.step_id == step_id && kept.commit == commit);
            if !kept {
                let why = format!(
                    "The work of step `{step_id}` is lost: it was only kept on the runner that had the job before. \
                     Start the task again."
                );
                return Err(Trouble::Other(end("checkpoint_lost", why)));
            }
            let file = dir.join(format!("{step_id}.bundle"));
            job.fetch_checkpoint(&step_id, &file, CHECKPOINT_BYTES).await.map_err(|error| {
                Trouble::Other(match error {
                    client::Error::Unknown(why) | client::Error::Refused(why) => end(
                        "checkpoint_lost",
                        format!("The work of step `{step_id}` can't be had back: {why}"),
                    ),
                    client::Error::Away(why) | client::Error::Token(why) => Unopened::GiveBack(why),
                })
            })?;
            let applied = repository.apply_bundle(&file, &reference, &tip).await;
            let _ = tokio::fs::remove_file(&file).await;
            applied?;
        }
        newest = Some(tip);
    }
    Ok(newest)
}

fn make_dirs(dir: &Path) -> Result<(), Trouble> {
    let parent = dir.parent().unwrap_or(dir);
    std::fs::create_dir_all(parent).map_err(|error| {
        Trouble::Other(Unopened::GiveBack(format!("{} can't be made: {error}", parent.display())))
    })
}

/// What a job ends with when its repository can't be had.
pub(crate) fn of_git(error: Error) -> Unopened {
    let code = match &error {
        Error::DiskFull { .. } => "runner_disk",
        Error::AuthFailed { .. } | Error::RemoteMissing { .. } | Error::Moved { .. } => {
            "repository_access"
        }
        Error::EmptyRepository { .. } => "repository_empty",
        Error::BranchMissing { .. } | Error::DetachedHead { .. } => "branch_missing",
        Error::GitMissing { .. } | Error::GitTooOld { .. } => {
            return Unopened::GiveBack(error.to_string());
        }
        // The far side is away for long, or this machine ends our processes: another lease may help.
        error if error.is_transient() => return Unopened::GiveBack(with_causes(error)),
        _ => "repository",
    };
    end(code, format!("The repository can't be worked on: {}", with_causes(&error)))
}

/// An error with its causes in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn end(code: &str, reason: impl Into<String>) -> Unopened {
    Unopened::End(failed(code, reason))
}
