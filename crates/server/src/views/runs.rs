//! Runs, as lists and one by one.

use windlass_run::RunId;
use windlass_store::runs::{Counts, Filter, RunRow, Slice};
use windlass_wire::api::{
    Page,
    run::{Run, RunSummary, RunsQuery},
};

use super::{cursor_number, jobs, micros, page_size, standing_name, standing_named};
use crate::{auth::Principal, problem::Problem, state::AppState};

/// Runs, newest first.
///
/// # Errors
/// A state, limit or cursor that can't be read; the store's failures.
pub async fn list(
    app: &AppState,
    principal: &Principal,
    query: RunsQuery,
) -> Result<Page<RunSummary>, Problem> {
    let limit = page_size(query.limit)?;
    let slice = Slice { before: cursor_number(query.cursor.as_deref())?, limit };
    let standing = query.state.as_deref().map(standing_named).transpose()?;
    let filter = Filter { standing, ..Filter::default() };
    let rows = app.store().runs(&principal.organisation_id, filter, slice).await?;
    let next =
        (rows.len() == limit as usize).then(|| rows.last().map(|row| row.number.to_string()));
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        items.push(summary(app, row).await);
    }
    Ok(Page { items, next: next.flatten() })
}

/// One run with its jobs.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn one(app: &AppState, principal: &Principal, run_id: &RunId) -> Result<Run, Problem> {
    let (row, job_rows) = app.store().run(&principal.organisation_id, run_id).await?;
    let mut jobs = Vec::with_capacity(job_rows.len());
    for job in &job_rows {
        jobs.push(jobs::summary(app, job).await);
    }
    Ok(Run { summary: summary(app, &row).await, jobs })
}

/// How many jobs stand how.
///
/// # Errors
/// The store's failures.
pub async fn counts(app: &AppState, principal: &Principal) -> Result<Counts, Problem> {
    Ok(app.store().counts(&principal.organisation_id, None).await?)
}

async fn summary(app: &AppState, row: &RunRow) -> RunSummary {
    RunSummary {
        id: row.id.clone(),
        title: row.title.clone(),
        started_by: app.who(&row.by.actor).await,
        state: standing_name(row.standing).to_owned(),
        created_at: row.created_at.as_micros(),
        ended_at: micros(row.ended_at),
    }
}
