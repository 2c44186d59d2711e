//! Runners, as people see them.

use windlass_run::Duration;
use windlass_wire::api::runner::Runner;

use crate::{auth::Principal, problem::Problem, state::AppState};

/// How long a runner stays in the list after it was last heard of.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Runners that were heard of within a day.
///
/// # Errors
/// The store's failures.
pub async fn list(app: &AppState, principal: &Principal) -> Result<Vec<Runner>, Problem> {
    let now = app.now();
    let rows = app.store().runners(&principal.organisation_id, now - REMEMBERED).await?;
    let alive_since = now - app.lease_ttl();
    let runner = |row: windlass_store::work::RunnerRow| Runner {
        alive: row.seen_at >= alive_since,
        id: row.runner.id,
        name: row.runner.name,
        version: row.runner.version,
        capacity: row.runner.capacity,
        seen_at: row.seen_at.as_micros(),
        jobs: row.jobs,
    };
    Ok(rows.into_iter().map(runner).collect())
}
