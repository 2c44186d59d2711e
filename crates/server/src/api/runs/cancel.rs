//! `POST /api/v1/runs/{run}/cancel`: asks all jobs of a run to stop.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::RunId;
use windlass_wire::api::run::{Cancel, Run};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::POST,
        "/api/v1/runs/{run}/cancel",
        Access::Allows(Action::CancelRun),
        handler,
    )
    .doc(
        Doc::new("cancelRun", "Asks all jobs of a run that have not ended to stop.")
            .takes::<Cancel>()
            .gives::<Run>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Body(cancel): Body<Cancel>,
) -> Result<Json<Run>, Problem> {
    actions::runs::cancel(&app, &principal, &run_id, cancel.reason).await?;
    views::runs::one(&app, &principal, &run_id).await.map(Json)
}
