//! The checkpoint after a step: the work tree, taken from outside into the job's own repository, and
//! on its way to the server as a thin bundle and as a patch.

use std::{collections::BTreeMap, io};

use serde_json::Value;
use windlass_git::{
    Error, Oid, RefName, Signature,
    repository::Expected,
    snapshot::{NewCommit, Options, Reason, WorkTree},
};
use windlass_run::{Time, job::StepResult};

use super::{
    place::{Attempt, Place},
    repository::with_causes,
};
use crate::{executor::Attempted, job::failed, journal::Item};

/// The largest patch that is sent.
const PATCH_BYTES: usize = 16 << 20;
/// How many paths that were left out are named in the log.
const LEFT_OUT: usize = 50;

/// Takes a checkpoint and ends the step well, with the values that it gave.
pub(super) async fn succeeded(
    place: &mut Place,
    attempt: &Attempt,
    outputs: BTreeMap<String, Value>,
) -> Result<Attempted, Attempted> {
    let checkpoint = take(place, attempt).await?;
    let checkpoint = checkpoint.map(|commit| commit.to_string());
    Ok(Attempted::Ended(StepResult::Succeeded { checkpoint, outputs }))
}

/// Takes a checkpoint; `None` if the tree did not change since the last one.
pub(super) async fn take(place: &mut Place, attempt: &Attempt) -> Result<Option<Oid>, Attempted> {
    let tip = match commit(place, attempt).await {
        Ok(Some(tip)) => tip,
        Ok(None) => return Ok(None),
        Err(error) => return Err(of_git(&error)),
    };
    let previous = std::mem::replace(&mut place.work.tip, tip.clone());
    send(place, attempt, &previous, &tip).await?;
    Ok(Some(tip))
}

/// Takes a tree that the platform itself made as the step's checkpoint; `None` if it is as the last one.
pub(super) async fn take_tree(
    place: &mut Place,
    attempt: &Attempt,
    tree: Oid,
) -> Result<Option<Oid>, Attempted> {
    let same = place.work.repository.tree_of(&place.work.tip).await;
    if same.map_err(|error| of_git(&error))? == tree {
        return Ok(None);
    }
    let tip = keep(place, attempt, tree).await.map_err(|error| of_git(&error))?;
    let previous = std::mem::replace(&mut place.work.tip, tip.clone());
    send(place, attempt, &previous, &tip).await?;
    Ok(Some(tip))
}

/// Who the platform's commits are by. The time is that of the creation of the job or environment: the
/// same work gives the same commit, whenever it is made.
pub(crate) fn platform(created_at: Time) -> Signature {
    let at = created_at.as_micros();
    Signature { name: "Windlass".to_owned(), email: "windlass@windlass.invalid".to_owned(), at }
}

async fn commit(place: &mut Place, attempt: &Attempt) -> windlass_git::Result<Option<Oid>> {
    let Some(environment) = &place.environment else { return Ok(None) };
    let tree = WorkTree { path: environment.host_tree.clone(), index: environment.index.clone() };
    let (repository, tip) = (&place.work.repository, &place.work.tip);
    let snapshot = repository.snapshot(&tree, tip, &Options::default()).await?;
    let mut notes = Vec::new();
    for left_out in &snapshot.left_out {
        let why = match &left_out.reason {
            Reason::TooLarge(bytes) => {
                format!("it has {bytes} bytes, more than a change may hold in one file")
            }
            Reason::Special => "it is a pipe, a socket or a device".to_owned(),
            Reason::Submodule => "it lies in a submodule".to_owned(),
            Reason::Refused(why) => why.clone(),
        };
        notes.push(format!("`{}` is not part of the change: {why}", left_out.path));
    }
    for nested in &snapshot.nested {
        notes.push(format!(
            "`{nested}` is a repository of its own: its files are taken, its history is not"
        ));
    }
    let shown = notes.len().min(LEFT_OUT);
    for note in &notes[..shown] {
        let _ = attempt.log.append(format!("[windlass: {note}]\n").as_bytes());
    }
    if notes.len() > shown {
        let more = format!("[windlass: and {} further notes of this kind]\n", notes.len() - shown);
        let _ = attempt.log.append(more.as_bytes());
    }
    place.facts.notes = notes.into_iter().take(LEFT_OUT).collect();
    if snapshot.tree == repository.tree_of(tip).await? {
        return Ok(None);
    }
    keep(place, attempt, snapshot.tree).await.map(Some)
}

/// Makes the checkpoint's commit and its hidden reference.
async fn keep(place: &Place, attempt: &Attempt, tree: Oid) -> windlass_git::Result<Oid> {
    let (repository, tip) = (&place.work.repository, &place.work.tip);
    let who = platform(place.job.look(|state| state.created_at));
    let commit = NewCommit {
        tree,
        parents: vec![tip.clone()],
        author: who.clone(),
        committer: who,
        message: format!("After step {}", attempt.step_id),
    };
    let made = repository.commit(&commit).await?;
    let reference = RefName::checkpoint(place.job.job_id.as_str(), attempt.step_id.as_str())?;
    repository.update_reference(&reference, &made, Expected::Anything).await?;
    Ok(made)
}

/// Queues bundle and patch for the server; both are files until it has them.
async fn send(
    place: &Place,
    attempt: &Attempt,
    previous: &Oid,
    tip: &Oid,
) -> Result<(), Attempted> {
    let folder = &place.job.held.folder;
    tokio::fs::create_dir_all(folder).await.map_err(|error| disk_full(&error))?;
    let repository = &place.work.repository;
    let step_id = &attempt.step_id;
    let reference = RefName::checkpoint(place.job.job_id.as_str(), step_id.as_str())
        .map_err(|error| of_git(&error))?;
    let file = folder.join(format!("{step_id}.{}.bundle", attempt.number));
    let without = std::slice::from_ref(previous);
    if repository.create_bundle(&file, &reference, without).await.map_err(|error| of_git(&error))? {
        let item = Item::Checkpoint { step_id: step_id.clone(), commit: tip.to_string(), file };
        place
            .job
            .upload(item)
            .map_err(|error| Attempted::JobEnded(failed("runner_disk", error.to_string())))?;
    }
    let patch = match repository.patch_text(&place.work.base, tip, PATCH_BYTES).await {
        Ok(patch) => patch,
        Err(Error::TooLarge { limit, unit, .. }) => {
            let note = format!(
                "[windlass: the change so far is larger than {limit} {unit}; it is kept, but not shown]\n"
            );
            let _ = attempt.log.append(note.as_bytes());
            return Ok(());
        }
        Err(error) => return Err(of_git(&error)),
    };
    let file = folder.join(format!("{step_id}.{}.patch", attempt.number));
    tokio::fs::write(&file, place.redactor.redact(&patch))
        .await
        .map_err(|error| disk_full(&error))?;
    let item = Item::Diff { step_id: step_id.clone(), file };
    place
        .job
        .upload(item)
        .map_err(|error| Attempted::JobEnded(failed("runner_disk", error.to_string())))
}

/// What a step ends with when its work can't be taken.
pub(super) fn of_git(error: &Error) -> Attempted {
    let code = match error {
        Error::TooLarge { .. } => "change_too_large",
        Error::DiskFull { .. } => {
            return Attempted::JobEnded(failed("runner_disk", disk_words(&error.to_string())));
        }
        _ => "checkpoint",
    };
    let reason =
        format!("The work could not be taken from the environment: {}.", with_causes(error));
    Attempted::Ended(StepResult::Failed { code: code.to_owned(), reason })
}

/// What a job ends with when the runner's disk does not take what must be kept.
pub(super) fn disk_full(error: &io::Error) -> Attempted {
    Attempted::JobEnded(failed("runner_disk", disk_words(&error.to_string())))
}

fn disk_words(error: &str) -> String {
    format!(
        "The runner's disk takes no more: {error}. Free some space, or some inodes (`df -h` and `df -i` say which), on its state folder and start the task again."
    )
}
