//! `GET /api/v1/fleets/{run}`: one fleet.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::RunId;
use windlass_wire::api::fleet::Fleet;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/fleets/{run}", Access::Allows(Action::View), handler).doc(
        Doc::new(
            "getFleet",
            "One fleet: rings, counts, failures, stop rules, what it spent, what was done.",
        )
        .gives::<Fleet>(200)
        .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
) -> Result<Json<Fleet>, Problem> {
    views::fleets::one(&app, &principal, &run_id).await.map(Json)
}
