//! `POST /api/v1/fleets/{run}/retry`: plans failed targets of a fleet again.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::RunId;
use windlass_wire::api::fleet::{Fleet, RetryFleet};

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
        "/api/v1/fleets/{run}/retry",
        Access::Allows(Action::RetryRun),
        handler,
    )
    .doc(
        Doc::new("retryFleet", "Plans failed targets of a fleet again.")
            .takes::<RetryFleet>()
            .gives::<Fleet>(200)
            .problems(&[Code::NotFound, Code::Conflict, Code::BadRequest]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Body(asked): Body<RetryFleet>,
) -> Result<Json<Fleet>, Problem> {
    actions::fleets::retry(&app, &principal, &run_id, asked).await?;
    views::fleets::one(&app, &principal, &run_id).await.map(Json)
}
