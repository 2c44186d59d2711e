//! `GET /api/v1/runs/{run}`: one run with its jobs.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::RunId;
use windlass_wire::api::run::Run;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/runs/{run}", Access::Allows(Action::View), handler).doc(
        Doc::new("getRun", "One run with its jobs.").gives::<Run>(200).problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
) -> Result<Json<Run>, Problem> {
    views::runs::one(&app, &principal, &run_id).await.map(Json)
}
