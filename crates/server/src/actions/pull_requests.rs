//! Reviewing: comments, verdicts, merging, closing, and making a change visible at the source.

use windlass_forge::{
    forge::{Side as ForgeSide, Verdict},
    local::{Command, Place, PullRequest, Rules, decide},
};
use windlass_git::{Oid, RepoPath, merge::Method};
use windlass_store::projects::Project;
use windlass_wire::api::pull_request::{
    Comment, Merge, MergeMethod, Merged, NewComment, NewReview, Published, Side,
};

use crate::{
    auth::Principal,
    local::{
        self,
        pulls::{self, Rows, merge as merging},
        refresh::refresh,
        source,
    },
    problem::{Code, Problem},
    remote,
    state::AppState,
    views,
};

/// Writes a comment, in general or at a line.
///
/// # Errors
/// It is not there, the line's head is not the head now, or the text does not hold.
pub async fn comment(
    app: &AppState,
    principal: &Principal,
    project: &str,
    number: u64,
    new: NewComment,
) -> Result<Comment, Problem> {
    let project = find(app, principal, project).await?;
    let rows = rows(app, principal);
    let id = format!("c{:016x}", app.random() as u64);
    let before = rows.get(&project.id, number).await?;
    let place = match new.place {
        None => None,
        Some(place) => {
            let commit = match &place.commit {
                Some(commit) => Oid::parse(commit)?,
                None => before.head_commit.clone(),
            };
            let side = match place.side {
                Side::Old => ForgeSide::Old,
                Side::New => ForgeSide::New,
            };
            Some(Place { path: RepoPath::parse(&place.path)?, side, line: place.line, commit })
        }
    };
    let command = Command::Comment { id: id.clone(), body: new.body, place, answers: None };
    if let Command::Comment { body, place, .. } = &command
        && project.forge != local::FORGE
    {
        check(&before, &command, principal)?;
        let (by, place) = (&principal.name, place.as_ref());
        remote::pulls::comment(app, &project, &before, by, &id, body, place).await?;
    }
    let (state, _) = rows.execute(&project.id, number, &command).await?;
    Ok(views::pull_requests::comment(app, &id, &state.comments[&id]).await)
}

/// Approves the head that was looked at.
///
/// # Errors
/// It is not there or not open, or its head moved.
pub async fn approve(
    app: &AppState,
    principal: &Principal,
    project: &str,
    number: u64,
    new: NewReview,
) -> Result<(), Problem> {
    review(app, principal, project, number, new, Verdict::Approve).await
}

/// Asks for changes to the head that was looked at.
///
/// # Errors
/// It is not there or not open, its head moved, or nothing is said.
pub async fn request_changes(
    app: &AppState,
    principal: &Principal,
    project: &str,
    number: u64,
    new: NewReview,
) -> Result<(), Problem> {
    review(app, principal, project, number, new, Verdict::RequestChanges).await
}

async fn review(
    app: &AppState,
    principal: &Principal,
    project: &str,
    number: u64,
    new: NewReview,
    verdict: Verdict,
) -> Result<(), Problem> {
    let project = find(app, principal, project).await?;
    let rows = rows(app, principal);
    let before = rows.get(&project.id, number).await?;
    let commit = match &new.commit {
        Some(commit) => Oid::parse(commit)?,
        None => before.head_commit.clone(),
    };
    let command = Command::Review { verdict, body: new.body.clone(), commit: commit.clone() };
    if project.forge != local::FORGE {
        check(&before, &command, principal)?;
        let (by, body) = (&principal.name, &new.body);
        remote::pulls::review(app, &project, &before, by, verdict, body, &commit).await?;
    }
    rows.execute(&project.id, number, &command).await?;
    Ok(())
}

/// Merges, then makes the result visible at the source where that is a path.
///
/// # Errors
/// It is not there or not open, its head moved, or it conflicts. What could not be made visible at
/// the source is a note, not an error: the merge itself is done.
pub async fn merge(
    app: &AppState,
    principal: &Principal,
    project: &str,
    number: u64,
    wanted: Merge,
) -> Result<Merged, Problem> {
    let project = find(app, principal, project).await?;
    let method = match wanted.method {
        MergeMethod::Merge => Method::Merge,
        MergeMethod::Squash => Method::Squash,
        MergeMethod::Rebase => Method::Rebase,
    };
    let commit = wanted.commit.as_deref().map(Oid::parse).transpose()?;
    if project.forge != local::FORGE {
        return merge_at_host(app, principal, &project, number, method, commit).await;
    }
    let mut notes = Vec::new();
    if let Err(problem) = refresh(app, &project).await {
        notes.push(format!("The source could not be read before the merge: {}", problem.detail));
    }
    let how = merging::Wanted { method, commit };
    let state = merging::merge(&rows(app, principal), &project, number, how).await?;
    let merged = state.merged.as_ref().ok_or_else(|| {
        Problem::new(Code::Internal, "the server failed to record the merge; look again")
    })?;
    notes.extend(show_at_source(app, &project, &state, &merged.commit, wanted.update_source).await);
    Ok(Merged { commit: merged.commit.to_string(), notes })
}

async fn merge_at_host(
    app: &AppState,
    principal: &Principal,
    project: &Project,
    number: u64,
    method: Method,
    commit: Option<Oid>,
) -> Result<Merged, Problem> {
    let rows = rows(app, principal);
    remote::pulls::sync(app, &principal.organisation_id, project, number).await?;
    let before = rows.get(&project.id, number).await?;
    let head = commit.unwrap_or_else(|| before.head_commit.clone());
    let command = Command::Merge {
        method,
        commit: head.clone(),
        base_tip: before.base_commit.clone(),
        conflicts: Vec::new(),
        message: None,
    };
    check(&before, &command, principal)?;
    let commit = remote::pulls::merge(app, project, number, method, head).await?;
    let done = Command::MergeDone { commit: commit.clone() };
    rows.execute(&project.id, number, &done).await?;
    Ok(Merged { commit: commit.to_string(), notes: Vec::new() })
}

/// Refuses what the rules refuse before the host is asked to do it.
fn check(before: &PullRequest, command: &Command, principal: &Principal) -> Result<(), Problem> {
    let by = pulls::author(&principal.actor);
    decide(before, &Rules::default(), command.clone(), by, before.opened_at)
        .map(|_| ())
        .map_err(|why| pulls::refusal(&why))
}

async fn show_at_source(
    app: &AppState,
    project: &Project,
    state: &PullRequest,
    commit: &Oid,
    update_source: bool,
) -> Vec<String> {
    let Some(path) = windlass_git::Address::parse(&project.source)
        .ok()
        .and_then(|address| address.as_path().map(|path| path.display().to_string()))
    else {
        return Vec::new();
    };
    let mut notes = Vec::new();
    let head = state.head.short_branch().unwrap_or_default();
    let base = state.base.short_branch().unwrap_or_default();
    match source::publish(app, project, head, commit).await {
        Ok(()) => notes.push(format!(
            "The merged change is the branch {head} at {path}. To take it in there: git merge --ff-only {head}"
        )),
        Err(problem) => {
            notes.push(format!("The change could not be shown at {path}: {}", problem.detail));
        }
    }
    if update_source {
        match source::advance(app, project, base, commit).await {
            Ok(()) => notes.push(format!("{base} at {path} has the merge.")),
            Err(problem) => {
                notes.push(format!("{base} at {path} was not moved: {}", problem.detail))
            }
        }
    }
    notes
}

/// Closes without merging.
///
/// # Errors
/// It is not there, or merged.
pub async fn close(
    app: &AppState,
    principal: &Principal,
    project: &str,
    number: u64,
) -> Result<(), Problem> {
    let project = find(app, principal, project).await?;
    let rows = rows(app, principal);
    if project.forge != local::FORGE {
        check(&rows.get(&project.id, number).await?, &Command::Close, principal)?;
        remote::pulls::set_open(app, &project, number, false).await?;
    }
    rows.execute(&project.id, number, &Command::Close).await?;
    Ok(())
}

/// Opens a closed one again.
///
/// # Errors
/// It is not there, or merged.
pub async fn reopen(
    app: &AppState,
    principal: &Principal,
    project: &str,
    number: u64,
) -> Result<(), Problem> {
    let project = find(app, principal, project).await?;
    let rows = rows(app, principal);
    if project.forge != local::FORGE {
        check(&rows.get(&project.id, number).await?, &Command::Reopen, principal)?;
        remote::pulls::set_open(app, &project, number, true).await?;
    }
    rows.execute(&project.id, number, &Command::Reopen).await?;
    Ok(())
}

/// Makes the change visible as a branch at the source.
///
/// # Errors
/// It is not there; the source is no path, or the branch there has work that is not known here.
pub async fn publish(
    app: &AppState,
    principal: &Principal,
    project: &str,
    number: u64,
) -> Result<Published, Problem> {
    let project = find(app, principal, project).await?;
    if project.forge != local::FORGE {
        let why = format!("the change is at {} already", remote::page(&project, number));
        return Err(Problem::new(Code::Conflict, why));
    }
    let state = rows(app, principal).get(&project.id, number).await?;
    let branch = state.head.short_branch().unwrap_or_default().to_owned();
    let commit = state.merged.as_ref().map_or(&state.head_commit, |merged| &merged.commit);
    source::publish(app, &project, &branch, commit).await?;
    Ok(Published { branch, commit: commit.to_string() })
}

pub(crate) async fn find(
    app: &AppState,
    principal: &Principal,
    project: &str,
) -> Result<Project, Problem> {
    views::projects::find(app, principal, project).await
}

pub(crate) fn rows<'a>(app: &'a AppState, principal: &Principal) -> Rows<'a> {
    Rows { app, organisation_id: principal.organisation_id.clone(), by: principal.by() }
}
