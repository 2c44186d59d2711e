//! Merging a local pull request. First it is decided and journalled with everything that git needs;
//! then git does it; then it is journalled that it was done. Doing the middle part twice gives the
//! same commit, so a crash anywhere is followed by doing the rest: see [`finish`].

use windlass_forge::local::{Command, Merging, PullRequest, told};
use windlass_git::{
    Error, Oid, Repository, Signature,
    merge::{Merge, Merged, Method},
    repository::Expected,
};
use windlass_run::{OrganisationId, actor::By};
use windlass_store::projects::Project;

use super::{Rows, actor, keep_rounds};
use crate::{
    local::{
        repository,
        told::{paths, push},
    },
    problem::{Code, Problem},
    state::AppState,
};

/// How somebody wants a pull request merged.
pub(crate) struct Wanted {
    /// How.
    pub(crate) method: Method,
    /// The head that was looked at; absent for the head now.
    pub(crate) commit: Option<Oid>,
}

/// Decides and does it. Gives the pull request, merged.
pub(crate) async fn merge(
    rows: &Rows<'_>,
    project: &Project,
    number: u64,
    wanted: Wanted,
) -> Result<PullRequest, Problem> {
    let _lock = rows.app.repositories().lock(&project.id).await;
    let repository = repository(rows.app, &project.id)?;
    let before = rows.get(&project.id, number).await?;
    if before.merging.is_some() {
        // A merge was cut off: see it to its end before anything new is decided.
        carry_out(rows.app, &rows.organisation_id, project, &repository, &before).await?;
    }
    let base_tip = repository.reference(&before.base).await?.ok_or_else(|| {
        let why = format!("the base branch {} is gone", before.base.as_str());
        Problem::new(Code::MissingBranch, why)
    })?;
    let conflicts = match repository.merge_check(&base_tip, &before.head_commit).await? {
        None => Vec::new(),
        Some(conflict) => conflict.paths.iter().map(ToString::to_string).collect(),
    };
    let command = Command::Merge {
        method: wanted.method,
        commit: wanted.commit.unwrap_or_else(|| before.head_commit.clone()),
        base_tip,
        conflicts,
        message: None,
    };
    let (decided, _) = rows.execute(&project.id, number, &command).await?;
    carry_out(rows.app, &rows.organisation_id, project, &repository, &decided).await
}

/// Sees a merge that was cut off to its end.
pub(crate) async fn finish(
    app: &AppState,
    organisation_id: &OrganisationId,
    project: &Project,
    number: u64,
) -> Result<(), Problem> {
    let _lock = app.repositories().lock(&project.id).await;
    let repository = repository(app, &project.id)?;
    let rows = Rows { app, organisation_id: organisation_id.clone(), by: By::system("merge") };
    let state = rows.get(&project.id, number).await?;
    if state.merging.is_some() {
        carry_out(app, organisation_id, project, &repository, &state).await?;
    }
    Ok(())
}

/// Does what was decided, and journals what came of it.
async fn carry_out(
    app: &AppState,
    organisation_id: &OrganisationId,
    project: &Project,
    repository: &Repository,
    state: &PullRequest,
) -> Result<PullRequest, Problem> {
    let Some(merging) = &state.merging else { return Ok(state.clone()) };
    keep_rounds(repository, state).await?;
    let by = By { actor: actor(&merging.by), on_behalf_of: None };
    let rows = Rows { app, organisation_id: organisation_id.clone(), by };
    match move_base(app, project, repository, state, merging).await? {
        Ok(commit) => {
            let done = Command::MergeDone { commit };
            Ok(rows.execute(&project.id, state.number, &done).await?.0)
        }
        Err(problem) => {
            let failed = Command::MergeFailed { reason: problem.detail.clone() };
            rows.execute(&project.id, state.number, &failed).await?;
            Err(problem)
        }
    }
}

/// Moves the base branch. The inner error is a reason why this merge can't be done; the outer one
/// leaves it open, to be done again.
async fn move_base(
    app: &AppState,
    project: &Project,
    repository: &Repository,
    state: &PullRequest,
    merging: &Merging,
) -> Result<Result<Oid, Problem>, Problem> {
    let signature = signature(app, merging).await;
    let merge = Merge {
        base: merging.base_tip.clone(),
        head: merging.head_commit.clone(),
        method: merging.method,
        message: merging.message.clone(),
        author: signature.clone(),
        committer: signature,
    };
    let commit = match repository.merge(&merge).await {
        Ok(Merged::Clean { commit, .. }) => commit,
        Ok(Merged::NothingToDo) => merging.base_tip.clone(),
        Ok(Merged::Conflict(conflict)) => {
            let why = format!("it conflicts with the base: {}", conflict.messages.join("; "));
            return Ok(Err(Problem::new(Code::MergeConflict, why)));
        }
        Err(error @ (Error::Unrelated { .. } | Error::TooLarge { .. })) => {
            return Ok(Err(Problem::new(Code::MergeConflict, error.to_string())));
        }
        Err(error) => return Err(error.into()),
    };
    if commit != merging.base_tip {
        let default = repository.default_branch().await.ok();
        let moved = told::Moved {
            reference: state.base.clone(),
            before: Some(merging.base_tip.clone()),
            after: Some(commit.clone()),
            forced: false,
            default_branch: default.as_ref() == Some(&state.base),
            message: Some(merging.message.clone()),
            paths: paths(repository, &merging.base_tip, &commit).await?,
        };
        push(app, project, moved, Some(&actor(&merging.by))).await?;
    }
    let expected = Expected::Is(merging.base_tip.clone());
    match repository.update_reference(&state.base, &commit, expected).await {
        Ok(()) => Ok(Ok(commit)),
        Err(error @ Error::Stale { .. }) => {
            let now = repository.reference(&state.base).await?;
            match now {
                Some(now) if repository.is_ancestor(&commit, &now).await? => Ok(Ok(commit)),
                Some(_) | None => {
                    let why = format!("the base moved meanwhile; try again ({error})");
                    Ok(Err(Problem::new(Code::Conflict, why)))
                }
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Who merges, as the commit records it. A name that git would not take becomes the id.
async fn signature(app: &AppState, merging: &Merging) -> Signature {
    let actor = actor(&merging.by);
    let who = app.who(&actor).await;
    let email = format!("{}@windlass.invalid", who.id);
    let signature = Signature { name: who.name, email, at: merging.at };
    match signature.check() {
        Ok(()) => signature,
        Err(_) => Signature { name: who.id, ..signature },
    }
}
