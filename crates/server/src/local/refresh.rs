//! Bringing a project's repository up to date with its source, without ever losing what was merged
//! here. For each branch there are three commits: the source's now (S), the source's that was taken
//! in last (P), and ours (F).
//!
//! | situation | what happens |
//! |---|---|
//! | nothing was merged here (F = P), or the branch is new | F becomes S, also where S was rewritten |
//! | the source did not move (S = P), or has nothing that F lacks | F stays |
//! | the source has all of F | F becomes S |
//! | both moved | S is merged into F if that is clean; else F stays and a note says so |
//!
//! Only what is committed at the source is ever read; nothing there is changed.

use std::collections::{BTreeMap, BTreeSet};

use windlass_git::{
    Error, Oid, RefName, Repository,
    merge::{Merge, Merged, Method},
    repository::{Expected, RefUpdate},
    transfer::Advertised,
};
use windlass_run::Time;
use windlass_store::projects::Project;

use super::{Known, directory, origin, platform, source, told};
use crate::{problem::Problem, state::AppState};

const HEADS: &str = "refs/heads/";
const TAGS: &str = "refs/tags/";
const SOURCE: &str = "refs/windlass/source/heads/";
const SYNCED: &str = "refs/windlass/synced/heads/";

/// What a refresh found.
#[derive(Clone, Debug)]
pub(crate) struct Refreshed {
    /// The branch that a task is meant for if it names none: the project's own setting, else the one
    /// that the source's HEAD names.
    pub(crate) default_branch: Option<String>,
    /// What a person should know.
    pub(crate) notes: Vec<String>,
}

/// Reads the source and takes in what is new.
///
/// # Errors
/// The source is no repository, has no commit, or can't be reached.
pub(crate) async fn refresh(app: &AppState, project: &Project) -> Result<Refreshed, Problem> {
    let _lock = app.repositories().lock(&project.id).await;
    let mut known = app.repositories().known(&project.id);
    // Taken before anything is read: a change from now on is seen by the next refresh at the latest.
    let (now, trace) = (app.now().as_micros(), source::trace(&project.source));
    if trace.is_none() || trace != known.trace {
        let refreshed = read(app, project).await?;
        known = Known {
            refreshed_at: None,
            trace,
            default_branch: refreshed.default_branch,
            branches: BTreeSet::new(),
            notes: refreshed.notes,
        };
    }
    known.refreshed_at = Some(now);
    let refreshed = Refreshed {
        default_branch: project.default_branch.clone().or(known.default_branch.clone()),
        notes: known.notes.clone(),
    };
    app.repositories().learn(&project.id, known);
    Ok(refreshed)
}

/// Makes sure that a job sees what was at the source when it was created. Where the source can't be
/// read now, what is here already has to do: the job was accepted on its ground.
pub(crate) async fn before_lease(app: &AppState, project: &Project, created_at: Time) {
    let known = app.repositories().known(&project.id);
    if known.refreshed_at.is_some_and(|at| at >= created_at.as_micros()) {
        return;
    }
    if let Err(problem) = refresh(app, project).await {
        tracing::warn!(project = project.name, %problem, "the source can't be read before a lease");
    }
}

async fn read(app: &AppState, project: &Project) -> Result<Refreshed, Problem> {
    let remote = origin(project)?;
    let advertised = app.git().ls_remote(&remote).await?;
    if advertised.references.is_empty() && advertised.head.is_none() {
        return Err(Error::EmptyRepository { place: project.source.clone() }.into());
    }
    let repository = open(app, project).await?;
    let theirs = branches(&advertised);
    let mut notes = notes(project, &advertised);
    let tags = by_branch(&repository, TAGS).await?;
    if by_branch(&repository, SOURCE).await? != theirs || tags != advertised_tags(&advertised) {
        repository.remove_stale_locks().await?;
        let is_first = repository.references(SYNCED).await?.is_empty();
        let specs = [
            "+refs/heads/*:refs/windlass/source/heads/*",
            "^refs/heads/windlass/*",
            "+refs/tags/*:refs/tags/*",
        ];
        repository.fetch(&remote, &specs, true).await?;
        if !is_first {
            let moves = tag_moves(&tags, &by_branch(&repository, TAGS).await?)?;
            told::moved_at_source(app, project, &repository, moves).await?;
        }
    }
    notes.extend(take_in(app, project, &repository).await?);
    let head = advertised.default_branch.as_ref();
    if let Some(branch) = head {
        repository.set_default_branch(branch).await?;
    }
    let default_branch = head.and_then(|branch| branch.short_branch()).map(str::to_owned);
    Ok(Refreshed { default_branch, notes })
}

/// Which tags went where.
fn tag_moves(
    before: &BTreeMap<String, Oid>,
    after: &BTreeMap<String, Oid>,
) -> Result<Vec<told::Move>, Error> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let moved = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    moved
        .map(|name| {
            let reference = RefName::parse(&format!("{TAGS}{name}"))?;
            Ok((reference, before.get(name).cloned(), after.get(name).cloned()))
        })
        .collect()
}

/// A project's repository, made if there is none.
pub(crate) async fn open(app: &AppState, project: &Project) -> Result<Repository, Error> {
    let directory = directory(app, &project.id);
    match app.git().open(&directory) {
        Err(Error::NotARepository { .. }) => {
            if let Some(parent) = directory.parent() {
                tokio::fs::create_dir_all(parent).await.map_err(|source| Error::Io {
                    what: format!("make {}", parent.display()),
                    source,
                })?;
            }
            app.git().init(&directory).await
        }
        found => found,
    }
}

/// The branches that are taken in, by their short names.
fn branches(advertised: &Advertised) -> BTreeMap<String, Oid> {
    advertised
        .references
        .iter()
        .filter_map(|reference| {
            let name = reference.name.short_branch()?;
            (!name.starts_with("windlass/")).then(|| (name.to_owned(), reference.target.clone()))
        })
        .collect()
}

/// The tags that are taken in, by their short names.
fn advertised_tags(advertised: &Advertised) -> BTreeMap<String, Oid> {
    let tags = advertised.references.iter().filter_map(|reference| {
        let name = reference.name.as_str().strip_prefix(TAGS)?;
        Some((name.to_owned(), reference.target.clone()))
    });
    tags.collect()
}

/// The references below a prefix, by the rest of their names.
async fn by_branch(repository: &Repository, prefix: &str) -> Result<BTreeMap<String, Oid>, Error> {
    let references = repository.references(prefix).await?;
    let short = |reference: windlass_git::repository::Reference| {
        let name = reference.name.as_str().strip_prefix(prefix)?.to_owned();
        Some((name, reference.target))
    };
    Ok(references.into_iter().filter_map(short).collect())
}

fn notes(project: &Project, advertised: &Advertised) -> Vec<String> {
    let mut notes = Vec::new();
    let is_work_tree = source::is_work_tree(&project.source);
    if is_work_tree {
        notes.push(format!(
            "Only what is committed at {} is used; uncommitted work there stays as it is.",
            project.source
        ));
    }
    if let (None, Some(head)) = (&advertised.default_branch, &advertised.head) {
        notes.push(format!(
            "HEAD is detached there (at {}): each task must name the branch that it is meant for.",
            head.short()
        ));
    }
    notes
}

/// Moves our branches by the table above, all at once.
async fn take_in(
    app: &AppState,
    project: &Project,
    repository: &Repository,
) -> Result<Vec<String>, Problem> {
    let theirs = by_branch(repository, SOURCE).await?;
    let synced = by_branch(repository, SYNCED).await?;
    let ours = by_branch(repository, HEADS).await?;
    let (mut updates, mut notes) = (Vec::new(), Vec::new());
    let names: BTreeSet<&String> = theirs.keys().chain(synced.keys()).collect();
    for name in names {
        let (s, p, f) = (theirs.get(name), synced.get(name), ours.get(name));
        let Some(s) = s else {
            if f == p {
                updates.extend(update(HEADS, name, None, f)?);
            }
            updates.extend(update(SYNCED, name, None, p)?);
            continue;
        };
        if p == Some(s) {
            continue;
        }
        let new = match f {
            None => Some(s.clone()),
            Some(f) if Some(f) == p || f == s => Some(s.clone()),
            Some(f) => join(app, repository, name, s, f).await?,
        };
        match new {
            Some(new) => {
                updates.extend(update(HEADS, name, Some(&new), f)?);
                updates.extend(update(SYNCED, name, Some(s), p)?);
            }
            None => notes.push(format!(
                "The branch {name} went apart: what was merged here conflicts with what is new at \
                 {}. Jobs use the one here until {name} there has both.",
                project.source
            )),
        }
    }
    if !updates.is_empty() {
        // The first time everything is new: nobody pushed it.
        if !synced.is_empty() {
            let moves = updates.iter().filter(|it| it.name.as_str().starts_with(HEADS));
            let moves = moves.map(|it| (it.name.clone(), before(it), it.new.clone()));
            told::moved_at_source(app, project, repository, moves.collect()).await?;
        }
        repository.update_references(&updates).await?;
    }
    Ok(notes)
}

/// Where a reference is before an update.
fn before(update: &RefUpdate) -> Option<Oid> {
    match &update.expected {
        Expected::Is(commit) => Some(commit.clone()),
        Expected::Absent | Expected::Anything => None,
    }
}

/// What a branch becomes when both sides may have moved; `None` if they conflict.
async fn join(
    app: &AppState,
    repository: &Repository,
    name: &str,
    theirs: &Oid,
    ours: &Oid,
) -> Result<Option<Oid>, Error> {
    if repository.is_ancestor(ours, theirs).await? {
        return Ok(Some(theirs.clone()));
    }
    let merge = Merge {
        base: ours.clone(),
        head: theirs.clone(),
        method: Method::Merge,
        message: format!("Merge what is new in {name}"),
        author: platform(app),
        committer: platform(app),
    };
    match repository.merge(&merge).await {
        Ok(Merged::Clean { commit, .. }) => Ok(Some(commit)),
        Ok(Merged::NothingToDo) => Ok(Some(ours.clone())),
        Ok(Merged::Conflict(_)) | Err(Error::Unrelated { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn update(
    prefix: &str,
    name: &str,
    new: Option<&Oid>,
    old: Option<&Oid>,
) -> Result<Option<RefUpdate>, Error> {
    if new == old {
        return Ok(None);
    }
    let expected = old.map_or(Expected::Absent, |old| Expected::Is(old.clone()));
    let name = RefName::parse(&format!("{prefix}{name}"))?;
    Ok(Some(RefUpdate { name, new: new.cloned(), expected }))
}
