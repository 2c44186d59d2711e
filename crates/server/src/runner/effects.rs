//! `POST /api/v1/runner/grant` and `.../record`: a runner asks to act on an effect, and records what
//! came of it.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::Duration;
use windlass_store::work::{self, Executor};
use windlass_wire::runner::{GrantAnswer, GrantRequest, RecordRequest};

use crate::{
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::Body,
    problem::Problem,
    state::AppState,
};

/// How long nobody else may act on what a runner was granted. Short, since a killed runner's push waits
/// for it: a push names the old and the new value of its branch, so that a late one changes nothing.
const GRANT: Duration = Duration::from_secs(20);

pub(super) fn grant_endpoint() -> Endpoint {
    let access = Access::Allows(Action::ExecuteEffect);
    Endpoint::new(Method::POST, "/api/v1/runner/grant", access, grant)
}

pub(super) fn record_endpoint() -> Endpoint {
    let access = Access::Allows(Action::ExecuteEffect);
    Endpoint::new(Method::POST, "/api/v1/runner/record", access, record)
}

async fn grant(
    State(app): State<AppState>,
    principal: Principal,
    Body(request): Body<GrantRequest>,
) -> Result<Json<GrantAnswer>, Problem> {
    principal.is_runner(&request.runner_id)?;
    let GrantRequest { runner_id, job_id, epoch, key, looked } = request;
    let executor = Executor::Runner { runner_id, epoch };
    let answer = app.store().grant(executor, job_id, key, GRANT, looked, app.now()).await?;
    Ok(Json(to_wire(answer)))
}

async fn record(
    State(app): State<AppState>,
    principal: Principal,
    Body(request): Body<RecordRequest>,
) -> Result<Json<GrantAnswer>, Problem> {
    principal.is_runner(&request.runner_id)?;
    let RecordRequest { runner_id, job_id, epoch, key, state } = request;
    let executor = Executor::Runner { runner_id, epoch };
    let answer = app.store().record(executor, job_id, key, state, app.now()).await?;
    Ok(Json(to_wire(answer)))
}

fn to_wire(answer: work::GrantAnswer) -> GrantAnswer {
    match answer {
        work::GrantAnswer::Effect(state) => GrantAnswer::Effect { state },
        work::GrantAnswer::Refused(why) => GrantAnswer::Refused { why },
        work::GrantAnswer::Lost => GrantAnswer::Lost,
    }
}
