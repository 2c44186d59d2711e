//! Projects.

use windlass_run::{OrganisationId, ProjectId};
use windlass_store::projects::Project as Stored;
use windlass_wire::api::{
    Page, PageQuery,
    project::{Pool, PoolStart, Project, Settings, Source},
};

use super::page_size;
use crate::{auth::Principal, local, problem::Problem, state::AppState};

/// Projects by name.
///
/// # Errors
/// A limit that can't be read; the store's failures.
pub async fn list(
    app: &AppState,
    principal: &Principal,
    query: PageQuery,
) -> Result<Page<Project>, Problem> {
    let limit = page_size(query.limit)?;
    let after = query.cursor.as_deref();
    let rows = app.store().projects(&principal.organisation_id, after, limit).await?;
    let next = (rows.len() == limit as usize).then(|| rows.last().map(|row| row.name.clone()));
    Ok(Page { items: rows.iter().map(|row| project(app, row)).collect(), next: next.flatten() })
}

/// One project by its name or id.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn one(app: &AppState, principal: &Principal, name: &str) -> Result<Project, Problem> {
    Ok(project(app, &find(app, principal, name).await?))
}

/// What is kept ahead of demand for a project, on each runner that is there and told of it.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn pool(app: &AppState, principal: &Principal, name: &str) -> Result<Vec<Pool>, Problem> {
    let project = find(app, principal, name).await?;
    let runners = super::runners::list(app, principal).await?;
    let alive = runners.into_iter().filter(|runner| runner.alive);
    let pools = alive.filter_map(|runner| {
        let pool = app.runners().pool(&runner.id, &project.id)?;
        Some(Pool {
            runner: runner.name,
            ready: pool.ready,
            making: pool.making,
            wanted: pool.wanted,
            most: pool.most,
            gap_micros: pool.gap,
            refill_micros: pool.refill,
            memory_bytes: pool.memory,
            disk_bytes: pool.disk,
            hits: pool.starts.iter().map(|(hit, _)| u32::from(*hit)).sum(),
            starts: pool.starts.iter().map(|(hit, micros)| start(*hit, *micros)).collect(),
        })
    });
    Ok(pools.collect())
}

fn start(hit: bool, micros: u64) -> PoolStart {
    PoolStart { hit, micros }
}

/// One project by its name or id, as it is stored. One that was removed is not found.
pub(crate) async fn find(
    app: &AppState,
    principal: &Principal,
    name: &str,
) -> Result<Stored, Problem> {
    let organisation_id = &principal.organisation_id;
    let found = match ProjectId::parse(name) {
        Ok(project_id) => app.store().project(organisation_id, &project_id).await,
        Err(_) => app.store().project_named(organisation_id, name).await,
    };
    match found {
        Ok(project) if project.archived_at.is_none() => Ok(project),
        Ok(_) | Err(windlass_store::Error::NotFound { .. }) => Err(Problem::not_found(format!(
            "project {}",
            name.chars().take(64).collect::<String>()
        ))),
        Err(error) => Err(error.into()),
    }
}

/// A project as the API gives it.
pub(crate) fn project(app: &AppState, row: &Stored) -> Project {
    let known = app.repositories().known(&row.id);
    Project {
        id: row.id.clone(),
        name: row.name.clone(),
        source: source(row),
        default_branch: row.default_branch.clone(),
        clone_url: match row.forge.as_str() {
            local::FORGE => format!("{}/git/{}.git", app.base_url(), row.name),
            _ => row.source.clone(),
        },
        settings: settings(row),
        created_at: row.created_at.as_micros(),
        refreshed_at: known.refreshed_at,
        notes: known.notes,
    }
}

/// Where a project's repository is. The settings hold what was asked for when it was added.
pub(crate) fn source(row: &Stored) -> Source {
    serde_json::from_value(row.settings["source"].clone())
        .unwrap_or_else(|_| Source::Url { url: row.source.clone() })
}

/// What a project wants of its environments. One from before there were such wants has none.
pub(crate) fn settings(row: &Stored) -> Settings {
    serde_json::from_value(row.settings[WANTS].clone()).unwrap_or_default()
}

/// Where a project's settings hold what it wants of its environments.
pub(crate) const WANTS: &str = "environments";

impl AppState {
    /// A project's name; its id where it is gone.
    pub(crate) async fn project_name(
        &self,
        organisation_id: &OrganisationId,
        project_id: &ProjectId,
    ) -> String {
        if let Some(name) = self.names().get(project_id.as_str()) {
            return name.clone();
        }
        match self.store().project(organisation_id, project_id).await {
            Ok(project) => {
                self.names().insert(project_id.to_string(), project.name.clone());
                project.name
            }
            Err(_) => project_id.to_string(),
        }
    }
}
