//! `POST /api/v1/fleets/{run}/pause`: begins nothing more of a fleet until somebody says so.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::RunId;
use windlass_wire::api::fleet::{Because, Fleet};

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
        "/api/v1/fleets/{run}/pause",
        Access::Allows(Action::SteerFleet),
        handler,
    )
    .doc(
        Doc::new("pauseFleet", "Begins nothing more of a fleet until somebody says so.")
            .takes::<Because>()
            .gives::<Fleet>(200)
            .problems(&[Code::NotFound, Code::Conflict, Code::BadRequest]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Body(asked): Body<Because>,
) -> Result<Json<Fleet>, Problem> {
    actions::fleets::pause(&app, &principal, &run_id, asked.reason).await?;
    views::fleets::one(&app, &principal, &run_id).await.map(Json)
}
