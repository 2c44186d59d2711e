//! The runner protocol, as `wire::runner` describes it: every call made by a runner, every call safe
//! to repeat. Each handler turns wire types into the store's and back, and decides nothing: the job
//! machine does, inside of the store.

mod artifacts;
mod effects;
mod environments;
mod join;
mod lease;
mod register;
mod report;
mod secrets;
pub(crate) mod streams;

use windlass_run::{JobId, RunnerId, job::Phase};

use crate::{
    auth::Principal,
    endpoint::Endpoint,
    problem::{Code, Problem},
    state::AppState,
};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = vec![
        join::endpoint(),
        register::endpoint(),
        lease::endpoint(),
        report::endpoint(),
        streams::endpoint(),
        effects::grant_endpoint(),
        effects::record_endpoint(),
        secrets::endpoint(),
    ];
    endpoints.extend(artifacts::endpoints());
    endpoints.extend(environments::endpoints());
    endpoints
}

/// The runner that holds a job under this epoch.
///
/// # Errors
/// Nobody does: the lease is lost.
async fn holder(
    app: &AppState,
    principal: &Principal,
    job_id: &JobId,
    epoch: u64,
) -> Result<RunnerId, Problem> {
    let detail = app.store().job(&principal.organisation_id, job_id).await?;
    match detail.state.phase {
        Phase::Leased { runner_id, .. } if detail.state.epoch == epoch => {
            principal.is_runner(&runner_id)?;
            Ok(runner_id)
        }
        Phase::Leased { .. } | Phase::Queued { .. } | Phase::Ended(_) => Err(lost(epoch)),
    }
}

fn lost(epoch: u64) -> Problem {
    Problem::new(Code::LeaseLost, format!("epoch {epoch} is not that of the job's current lease"))
}
