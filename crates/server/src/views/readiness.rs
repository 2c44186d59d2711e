//! How ready projects were found to be for agents.

use windlass_run::Time;
use windlass_store::readiness::ReadinessRow;
use windlass_wire::api::{
    Page,
    readiness::{Readiness, ReadinessQuery},
};

use super::{bad_cursor, cursor_number, page_size, projects};
use crate::{auth::Principal, problem::Problem, state::AppState};

/// The reports on a project, newest first.
///
/// # Errors
/// It is not there; a cursor or limit that can't be read; the store's failures.
pub async fn list(
    app: &AppState,
    principal: &Principal,
    project: &str,
    query: ReadinessQuery,
) -> Result<Page<Readiness>, Problem> {
    let project = projects::find(app, principal, project).await?;
    let limit = page_size(query.limit)?;
    let before = match cursor_number(query.cursor.as_deref())? {
        Some(number) => Some(Time::from_micros(i64::try_from(number).map_err(|_| bad_cursor())?)),
        None => None,
    };
    let organisation_id = &principal.organisation_id;
    let rows = app
        .store()
        .readiness(organisation_id, &project.id, query.job.as_ref(), before, limit)
        .await?;
    let is_full = rows.len() == limit as usize;
    let next = rows.last().filter(|_| is_full).map(|row| row.at.as_micros().to_string());
    let items = rows.into_iter().map(readiness).collect::<Result<_, _>>()?;
    Ok(Page { items, next })
}

fn readiness(row: ReadinessRow) -> Result<Readiness, Problem> {
    let report = serde_json::from_str(&row.report)
        .map_err(|error| Problem::internal("read a report on readiness", error))?;
    Ok(Readiness {
        job_id: row.job_id,
        run_id: row.run_id,
        step_id: row.step_id,
        at: row.at.as_micros(),
        report,
    })
}
