//! `GET /api/v1/projects/{project}/readiness`: how ready a project was found to be for agents, over time.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{
    Page,
    readiness::{Readiness, ReadinessQuery},
};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Keys, Place},
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let path = "/api/v1/projects/{project}/readiness";
    Endpoint::new(Method::GET, path, Access::Allows(Action::View), handler).doc(
        Doc::new("listReadiness", "What `readiness` steps found of a project, newest first.")
            .query::<ReadinessQuery>()
            .gives::<Page<Readiness>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(project): Place<String>,
    Keys(query): Keys<ReadinessQuery>,
) -> Result<Json<Page<Readiness>>, Problem> {
    views::readiness::list(&app, &principal, &project, query).await.map(Json)
}
