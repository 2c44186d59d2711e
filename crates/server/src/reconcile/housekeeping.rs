//! What has time: merges that were cut off, copies of repositories whose projects were removed,
//! branches of merged pull requests, and the sources of projects and the pull requests at hosts, which
//! are looked at now and then so that pages show what is there.

use std::{collections::HashSet, time::Duration};

use windlass_git::repository::Expected;
use windlass_run::ProjectId;
use windlass_store::{projects::Project, pulls::PullFilter};

use crate::{
    local::{self, pulls},
    problem::Problem,
    remote,
    state::AppState,
};

/// How often this runs when nobody nudges.
const ROUND: Duration = Duration::from_secs(60);

/// How often a source across the network is read, in rounds.
const FAR: u64 = 10;

/// What is remembered from round to round.
#[derive(Default)]
pub(super) struct Memory {
    rounds: u64,
}

pub(super) async fn round(app: &AppState, memory: &mut Memory) -> Result<Duration, Problem> {
    let projects = projects(app).await?;
    if memory.rounds == 0 {
        finish_merges(app, &projects).await?;
    }
    remove_copies(app, &projects).await?;
    for project in projects.iter().filter(|project| project.forge == local::FORGE) {
        let is_near = project.source.starts_with('/');
        let is_due = is_near || memory.rounds.is_multiple_of(FAR);
        if is_due && let Err(problem) = local::refresh(app, project).await {
            tracing::debug!(project = project.name, %problem, "a source can't be read now");
        }
    }
    if memory.rounds.is_multiple_of(FAR) {
        remove_merged_branches(app, &projects).await?;
        look_at_hosts(app, &projects).await?;
    }
    memory.rounds += 1;
    Ok(ROUND)
}

/// All projects that were not removed.
pub(super) async fn projects(app: &AppState) -> Result<Vec<Project>, Problem> {
    let mut all: Vec<Project> = Vec::new();
    loop {
        let after = all.last().map(|project| project.name.clone());
        let page = app.store().projects(app.organisation_id(), after.as_deref(), 200).await?;
        let is_last = page.len() < 200;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

/// Merges that were decided when the server ended are done now.
async fn finish_merges(app: &AppState, projects: &[Project]) -> Result<(), Problem> {
    for project in projects.iter().filter(|project| project.forge == local::FORGE) {
        let mut before = None;
        loop {
            let filter = PullFilter {
                project_id: Some(project.id.clone()),
                state: Some("open".to_owned()),
                search: None,
                before: before.clone(),
            };
            let rows = app.store().pulls(app.organisation_id(), filter, 200).await?;
            for row in &rows {
                if pulls::state(&row.columns)?.merging.is_none() {
                    continue;
                }
                let organisation_id = app.organisation_id();
                if let Err(problem) =
                    pulls::merge::finish(app, organisation_id, project, row.number).await
                {
                    tracing::warn!(project = project.name, number = row.number, %problem, "a merge that was cut off can't be finished");
                }
            }
            match rows.last() {
                Some(last) if rows.len() == 200 => {
                    before = Some((last.updated_at, last.project_id.clone(), last.number));
                }
                Some(_) | None => break,
            }
        }
    }
    Ok(())
}

/// Branches of jobs whose pull requests were merged go away; their rounds stay below hidden references.
async fn remove_merged_branches(app: &AppState, projects: &[Project]) -> Result<(), Problem> {
    for project in projects.iter().filter(|project| project.forge == local::FORGE) {
        // One that can't be opened is made again by the next refresh.
        let Ok(repository) = local::repository(app, &project.id) else { continue };
        let branches = repository.references("refs/heads/windlass/").await?;
        if branches.is_empty() {
            continue;
        }
        let filter = PullFilter {
            project_id: Some(project.id.clone()),
            state: Some("merged".to_owned()),
            ..PullFilter::default()
        };
        for row in app.store().pulls(app.organisation_id(), filter, 200).await? {
            let merged = pulls::state(&row.columns)?;
            let is_there = |branch: &&windlass_git::repository::Reference| {
                branch.name == merged.head && branch.target == merged.head_commit
            };
            if let Some(branch) = branches.iter().find(is_there) {
                pulls::keep_rounds(&repository, &merged).await?;
                let expected = Expected::Is(branch.target.clone());
                repository.delete_reference(&branch.name, expected).await?;
            }
        }
    }
    Ok(())
}

/// Open pull requests at hosts are looked at now and then: not everybody can set up a webhook.
async fn look_at_hosts(app: &AppState, projects: &[Project]) -> Result<(), Problem> {
    for project in projects.iter().filter(|project| project.forge != local::FORGE) {
        let filter = PullFilter {
            project_id: Some(project.id.clone()),
            state: Some("open".to_owned()),
            ..PullFilter::default()
        };
        for row in app.store().pulls(app.organisation_id(), filter, 200).await? {
            let synced = remote::pulls::sync(app, app.organisation_id(), project, row.number).await;
            if let Err(problem) = synced {
                tracing::debug!(project = project.name, %problem, "a host can't be asked now");
                break;
            }
        }
    }
    Ok(())
}

/// Removes copies of repositories whose projects are gone.
async fn remove_copies(app: &AppState, projects: &[Project]) -> Result<(), Problem> {
    let kept: HashSet<&ProjectId> = projects.iter().map(|project| &project.id).collect();
    let folder = app.data_dir().join("repositories");
    let Ok(mut entries) = tokio::fs::read_dir(&folder).await else { return Ok(()) };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let name = entry.file_name();
        let project_id = name.to_str().and_then(|name| name.strip_suffix(".git"));
        let Some(project_id) = project_id.and_then(|id| ProjectId::parse(id).ok()) else {
            continue;
        };
        if kept.contains(&project_id) {
            continue;
        }
        // A copy without a row may belong to a project that is just being added.
        let found = app.store().project(app.organisation_id(), &project_id).await;
        let is_gone = found.is_ok_and(|project| project.archived_at.is_some());
        if is_gone {
            let _lock = app.repositories().lock(&project_id).await;
            if let Err(error) = tokio::fs::remove_dir_all(entry.path()).await {
                tracing::warn!(%error, %project_id, "failed to remove a copy of a repository");
            }
        }
    }
    Ok(())
}
