//! What the local forge tells triggers: what happened to its pull requests, and where its branches and
//! tags went. Kept in the transaction that changes a pull request; for branches before they move, under a
//! key that says from where to where, so that a crash in between neither loses nor doubles it.

use windlass_forge::{
    event::{Actor as Told, Arrival},
    local::{self, Happened, PullRequest, told},
};
use windlass_git::{Error, Oid, RefName, Repository, diff::Options};
use windlass_run::{
    JobId, OrganisationId, ProjectId,
    actor::Actor,
    event::{Ancestry, Event},
};
use windlass_store::projects::Project;

use super::{FORGE, pulls};
use crate::{problem::Problem, state::AppState};

/// A branch or tag, where it was and where it is.
pub(crate) type Move = (RefName, Option<Oid>, Option<Oid>);

/// How many branches and tags are told of when a source moved.
const MOST: usize = 200;

/// What is told of a change to a pull request: nothing, where the project's pull requests are at another
/// host, which tells itself. `seq` is the place of the first event in the journal.
pub(crate) async fn of_pull_request(
    app: &AppState,
    organisation_id: &OrganisationId,
    state: &PullRequest,
    events: &[local::Event],
    seq: u64,
) -> Result<Vec<Event>, Problem> {
    let Ok(project_id) = ProjectId::parse(&state.project) else { return Ok(Vec::new()) };
    let project = app.store().project(organisation_id, &project_id).await?;
    if project.forge != FORGE {
        return Ok(Vec::new());
    }
    let mut raise = Vec::new();
    for (seq, event) in (seq..).zip(events) {
        let actor = actor(app, &pulls::actor(&event.by)).await;
        let Some(told) = told::of_pull_request(state, event, &project.name, actor) else {
            continue;
        };
        let delivery = format!("{project_id}/{}/{seq}", state.number);
        let mut envelope = told.envelope(arrival(app, &project, delivery));
        envelope.ancestry = ancestry(app, organisation_id, &event.what).await?;
        raise.push(envelope);
    }
    Ok(raise)
}

/// The same for one that is opened, whose number is not known before.
pub(crate) fn of_opening(
    app: &AppState,
    project: &Project,
    state: &PullRequest,
    events: &[local::Event],
    (actor, ancestry): (&Told, &Ancestry),
) -> Vec<Event> {
    let told = events
        .iter()
        .filter_map(|event| told::of_pull_request(state, event, &project.name, actor.clone()));
    told.map(|told| {
        let delivery = format!("{}/{}/1", project.id, state.number);
        let envelope = told.envelope(arrival(app, project, delivery));
        Event { ancestry: ancestry.clone(), ..envelope }
    })
    .collect()
}

/// Keeps that a branch or tag goes from one commit to another.
pub(crate) async fn push(
    app: &AppState,
    project: &Project,
    moved: told::Moved,
    by: Option<&Actor>,
) -> Result<(), Problem> {
    let actor = match by {
        Some(by) => Some(actor(app, by).await),
        None => None,
    };
    let at = |commit: &Option<Oid>| commit.as_ref().map_or("", Oid::as_str).to_owned();
    let (before, after) = (at(&moved.before), at(&moved.after));
    let delivery = format!("{}/{}/{before}..{after}", project.id, moved.reference);
    let event = told::of_push(moved, &project.name, actor);
    let event = event.envelope(arrival(app, project, delivery));
    app.store().receive_event(project.organisation_id.clone(), event, app.now()).await?;
    Ok(())
}

/// Where references of a project's source went, each from one commit to another.
pub(crate) async fn moved_at_source(
    app: &AppState,
    project: &Project,
    repository: &Repository,
    moves: Vec<Move>,
) -> Result<(), Problem> {
    let default = repository.default_branch().await.ok();
    for (reference, before, after) in moves.into_iter().take(MOST) {
        let forced = match (&before, &after) {
            (Some(before), Some(after)) => !repository.is_ancestor(before, after).await?,
            (None, _) | (_, None) => false,
        };
        let paths = match (&before, &after) {
            (Some(before), Some(after)) => paths(repository, before, after).await?,
            (None, _) | (_, None) => None,
        };
        let default_branch = default.as_ref() == Some(&reference);
        let moved =
            told::Moved { reference, before, after, forced, default_branch, message: None, paths };
        push(app, project, moved, None).await?;
    }
    Ok(())
}

/// The paths that differ between two commits; `None` if there are too many to look at.
pub(crate) async fn paths(
    repository: &Repository,
    before: &Oid,
    after: &Oid,
) -> Result<Option<Vec<String>>, Error> {
    let options = Options { context: 0, files: 3_000, file_lines: 1, ..Options::default() };
    match repository.diff(before, after, &options).await {
        Ok(diff) if diff.files.len() as u64 == diff.files_changed => {
            Ok(Some(diff.files.iter().map(|file| file.path().to_string()).collect()))
        }
        Ok(_) | Err(Error::TooLarge { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn arrival(app: &AppState, project: &Project, delivery: String) -> Arrival {
    Arrival {
        id: app.event_id(),
        source: format!("{FORGE}/{}", project.name),
        delivery,
        at: app.now(),
        project_id: Some(project.id.clone()),
    }
}

/// Somebody here, as events name those who caused them.
pub(crate) async fn actor(app: &AppState, actor: &Actor) -> Told {
    let who = app.who(actor).await;
    Told { login: who.name, id: who.id, bot: !matches!(actor, Actor::User(_)) }
}

/// The runs that what happened descends from: those of the job that pushed.
async fn ancestry(
    app: &AppState,
    organisation_id: &OrganisationId,
    what: &Happened,
) -> Result<Ancestry, Problem> {
    let job = match what {
        Happened::Opened { job, .. } | Happened::RoundBegan { job, .. } => job.as_deref(),
        _ => None,
    };
    match job.and_then(|job| JobId::parse(job).ok()) {
        Some(job_id) => of_job(app, organisation_id, &job_id).await,
        None => Ok(Ancestry::default()),
    }
}

/// The runs that what a job does descends from.
pub(crate) async fn of_job(
    app: &AppState,
    organisation_id: &OrganisationId,
    job_id: &JobId,
) -> Result<Ancestry, Problem> {
    let run_id = match app.store().job(organisation_id, job_id).await {
        Ok(job) => job.row.run_id,
        Err(windlass_store::Error::NotFound { .. }) => return Ok(Ancestry::default()),
        Err(error) => return Err(error.into()),
    };
    Ok(app.store().ancestry_of_run(organisation_id, &run_id).await?)
}
