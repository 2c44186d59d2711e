//! `GET /api/v1/fleets/{run}/targets`: its targets, in order.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::RunId;
use windlass_wire::api::{
    Page,
    fleet::{Target, TargetsQuery},
};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Keys, Place},
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::GET,
        "/api/v1/fleets/{run}/targets",
        Access::Allows(Action::View),
        handler,
    )
    .doc(
        Doc::new("listTargets", "Targets of a fleet, in the order in which they are begun.")
            .query::<TargetsQuery>()
            .gives::<Page<Target>>(200)
            .problems(&[Code::NotFound, Code::BadRequest]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Keys(query): Keys<TargetsQuery>,
) -> Result<Json<Page<Target>>, Problem> {
    views::fleets::targets(&app, &principal, &run_id, query).await.map(Json)
}
