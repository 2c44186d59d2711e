//! `GET /api/v1/fleets`: fleets, newest first.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{Page, PageQuery, fleet::FleetSummary};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/fleets", Access::Allows(Action::View), handler).doc(
        Doc::new("listFleets", "Fleets, newest first.")
            .query::<PageQuery>()
            .gives::<Page<FleetSummary>>(200)
            .problems(&[Code::BadRequest]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(query): Keys<PageQuery>,
) -> Result<Json<Page<FleetSummary>>, Problem> {
    views::fleets::list(&app, &principal, query).await.map(Json)
}
