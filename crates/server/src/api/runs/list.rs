//! `GET /api/v1/runs`: runs, newest first.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{
    Page,
    run::{RunSummary, RunsQuery},
};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/runs", Access::Allows(Action::View), handler).doc(
        Doc::new("listRuns", "Runs, newest first.")
            .query::<RunsQuery>()
            .gives::<Page<RunSummary>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(query): Keys<RunsQuery>,
) -> Result<Json<Page<RunSummary>>, Problem> {
    views::runs::list(&app, &principal, query).await.map(Json)
}
