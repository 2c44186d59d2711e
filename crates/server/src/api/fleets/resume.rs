//! `POST /api/v1/fleets/{run}/resume`: goes on with it.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::RunId;
use windlass_wire::api::fleet::Fleet;

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::POST,
        "/api/v1/fleets/{run}/resume",
        Access::Allows(Action::SteerFleet),
        handler,
    )
    .doc(
        Doc::new(
            "resumeFleet",
            "Goes on with a fleet. After a stop by a rule, the rules count anew.",
        )
        .gives::<Fleet>(200)
        .problems(&[Code::NotFound, Code::Conflict]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
) -> Result<Json<Fleet>, Problem> {
    actions::fleets::resume(&app, &principal, &run_id).await?;
    views::fleets::one(&app, &principal, &run_id).await.map(Json)
}
