//! `POST /api/v1/fleets/{run}/approve`: approves the changes of a cluster, or of targets.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::{RunId, fleet::What};
use windlass_wire::api::fleet::{Begun, OperateOn};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::POST,
        "/api/v1/fleets/{run}/approve",
        Access::Allows(Action::Approve),
        handler,
    )
    .doc(
        Doc::new("approveChanges", "Approves the changes of a cluster, or of targets.")
            .takes::<OperateOn>()
            .gives::<Begun>(200)
            .problems(&[Code::NotFound, Code::Conflict, Code::BadRequest]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Body(on): Body<OperateOn>,
) -> Result<Json<Begun>, Problem> {
    actions::fleets::operate(&app, &principal, &run_id, What::Approve, on).await.map(Json)
}
