//! Prebuilds that nobody has to ask for: when the default branch of a project moved, and by the clock.
//! Each is a run without a change, started at most once for a commit or a turn of the clock, also across
//! restarts: the store answers the same key with the run that is there.

use std::{collections::HashSet, time::Duration};

use windlass_forge::event::Push;
use windlass_run::{
    JobId, RunId,
    actor::By,
    spec::{Action, Spec, Target},
};
use windlass_store::{
    projects::Project,
    runs::{Filter, NewJob, NewRun, Slice},
};
use windlass_wire::api::project::Settings;

use crate::{
    actions::runs::step,
    local,
    problem::Problem,
    state::AppState,
    views::{classes::chosen, projects::settings},
};

/// How often this looks when nobody nudges.
const ROUND: Duration = Duration::from_secs(15);
/// How long a prebuild may take.
const LONGEST: windlass_run::Duration = windlass_run::Duration::from_secs(3600);
/// What people see of such a run.
const TITLE: &str = "Prebuild";
/// How many keys are remembered, so that the store is not asked again for what is done.
const REMEMBERED: usize = 10_000;

/// What is remembered from round to round. It saves questions and decides nothing.
#[derive(Default)]
pub(super) struct Memory {
    done: HashSet<String>,
}

pub(super) async fn round(app: &AppState, memory: &mut Memory) -> Result<Duration, Problem> {
    if memory.done.len() > REMEMBERED {
        memory.done.clear();
    }
    for project in super::housekeeping::projects(app).await? {
        let wants = settings(&project);
        if !wants.prebuild_on_push && wants.prebuild_every_minutes.is_none() {
            continue;
        }
        if let Err(problem) = look(app, memory, &project, &wants).await {
            tracing::warn!(project = project.name, %problem, "a prebuild can't be started now");
        }
    }
    Ok(ROUND)
}

async fn look(
    app: &AppState,
    memory: &mut Memory,
    project: &Project,
    wants: &Settings,
) -> Result<(), Problem> {
    let Some((branch, commit)) = head(app, project).await? else { return Ok(()) };
    let mut due = Vec::new();
    if wants.prebuild_on_push
        && let Some(commit) = &commit
    {
        due.push(push_key(project, &branch, commit));
    }
    if let Some(minutes) = wants.prebuild_every_minutes {
        let span =
            i64::try_from(minutes).unwrap_or(i64::MAX / 60_000_000).saturating_mul(60_000_000);
        let turn = app.now().as_micros() / span.max(1);
        due.push(format!("prebuild:{}:{branch}:every:{minutes}:{turn}", project.id));
    }
    due.retain(|key| !memory.done.contains(key));
    if due.is_empty() || is_under_way(app, project).await? {
        // One at a time: of commits that come in quick succession the newest counts.
        return Ok(());
    }
    for key in due {
        start(app, project, wants, &branch, commit.clone(), &key).await?;
        memory.done.insert(key);
    }
    Ok(())
}

/// The branch that prebuilds are for, and its commit where that is known here.
async fn head(
    app: &AppState,
    project: &Project,
) -> Result<Option<(String, Option<String>)>, Problem> {
    if project.forge != local::FORGE {
        return Ok(project.default_branch.clone().map(|branch| (branch, None)));
    }
    let known = app.repositories().known(&project.id).default_branch;
    let Some(branch) = project.default_branch.clone().or(known) else { return Ok(None) };
    // One that can't be opened is made by the next refresh.
    let Ok(repository) = local::repository(app, &project.id) else { return Ok(None) };
    let heads = repository.references("refs/heads/").await?;
    let head = heads.into_iter().find(|head| head.name.short_branch() == Some(branch.as_str()));
    Ok(head.map(|head| (branch, Some(head.target.to_string()))))
}

/// A push at a host that tells of it.
///
/// # Errors
/// The store's failures.
pub(crate) async fn pushed(
    app: &AppState,
    project: &Project,
    push: &Push,
) -> Result<&'static str, Problem> {
    let wants = settings(project);
    let branch = push.reference.strip_prefix("refs/heads/");
    let is_meant = branch.is_some() && branch == project.default_branch.as_deref();
    match (branch, &push.after) {
        (Some(branch), Some(commit)) if wants.prebuild_on_push && is_meant => {
            let commit = commit.to_string();
            let key = push_key(project, branch, &commit);
            start(app, project, &wants, branch, Some(commit), &key).await?;
            Ok("prebuild")
        }
        _ => Ok("passed over"),
    }
}

fn push_key(project: &Project, branch: &str, commit: &str) -> String {
    format!("prebuild:{}:{branch}:{commit}", project.id)
}

/// Whether one of the project's prebuilds has not ended.
async fn is_under_way(app: &AppState, project: &Project) -> Result<bool, Problem> {
    let filter =
        Filter { live: Some(true), project_id: Some(project.id.clone()), ..Filter::default() };
    let slice = Slice { before: None, limit: 200 };
    let jobs = app.store().jobs(&project.organisation_id, filter, slice).await?;
    Ok(jobs.iter().any(|job| job.title == TITLE))
}

/// Starts a run that does nothing but have its environment made, once per key.
async fn start(
    app: &AppState,
    project: &Project,
    wants: &Settings,
    branch: &str,
    commit: Option<String>,
    key: &str,
) -> Result<(), Problem> {
    let mut step = step("prebuild", Action::run("true"));
    step.timeout = LONGEST;
    let organisation_id = &project.organisation_id;
    let (class, runs_on) = chosen(app, organisation_id, None, wants.class.as_deref(), &[]).await?;
    let target = Target { project_id: project.id.clone(), base: branch.to_owned(), commit };
    let network = wants.prebuild_network.clone();
    let spec = Spec { network, runs_on, class, ..Spec::new(target, vec![step]) };
    let now = app.now();
    let job = NewJob { id: JobId::new(now, app.random()), title: TITLE.to_owned(), spec };
    let run = NewRun {
        id: RunId::new(now, app.random()),
        organisation_id: project.organisation_id.clone(),
        title: TITLE.to_owned(),
        jobs: vec![job],
        automation: None,
        turn: None,
        idempotency_key: Some(key.chars().take(255).collect()),
    };
    match app.store().create_run(By::system("prebuild"), run, now).await {
        Ok(started) => {
            if started.fresh {
                tracing::info!(project = project.name, branch, "a prebuild was started");
            }
            Ok(())
        }
        // The same commit with other hosts, or the same turn with another commit: it was done.
        Err(windlass_store::Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
