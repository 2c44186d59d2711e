//! `GET /api/v1/runner/jobs/{job}/secrets`: what the job's steps may be given, for the runner that
//! holds its lease. Asked for before each step, so that a rotation is seen by the next one. Nothing
//! of it is kept or logged.

use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, Method, header},
};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_run::{JobId, RunnerId};
use windlass_wire::runner::Secrets;

use super::{holder, lost};
use crate::{
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::{Keys, Place},
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ReceiveSecrets);
    Endpoint::new(Method::GET, "/api/v1/runner/jobs/{job}/secrets", access, handler)
}

#[derive(Deserialize)]
struct Query {
    runner_id: RunnerId,
    epoch: u64,
}

type NoStore = [(HeaderName, HeaderValue); 1];

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(job_id): Place<JobId>,
    Keys(query): Keys<Query>,
) -> Result<(NoStore, Json<Secrets>), Problem> {
    if holder(&app, &principal, &job_id, query.epoch).await? != query.runner_id {
        return Err(lost(query.epoch));
    }
    let job = app.store().job(&principal.organisation_id, &job_id).await?;
    let secrets = views::secrets::of_job(&app, &job).await?;
    Ok(([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(secrets)))
}
