//! `POST /api/v1/fleets/{run}/send-back`: sends the changes of a cluster or of targets back, or all.

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
        "/api/v1/fleets/{run}/send-back",
        Access::Allows(Action::RequestChanges),
        handler,
    )
    .doc(
        Doc::new("sendChangesBack", "Sends the changes of a cluster or of targets back, or all.")
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
    actions::fleets::operate(&app, &principal, &run_id, What::SendBack, on).await.map(Json)
}
