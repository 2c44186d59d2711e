//! Stopping jobs.

use windlass_run::JobId;

use crate::{auth::Principal, problem::Problem, state::AppState};

/// Asks a job to stop. A queued one ends at once, a leased one when its runner says so.
///
/// # Errors
/// It is not there or has ended; the store's failures.
pub async fn cancel(
    app: &AppState,
    principal: &Principal,
    job_id: &JobId,
    reason: String,
) -> Result<(), Problem> {
    let organisation_id = principal.organisation_id.clone();
    app.store()
        .cancel_job(principal.by(), organisation_id, job_id.clone(), reason, app.now())
        .await?;
    Ok(())
}
