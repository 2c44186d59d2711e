//! `GET /api/v1/projects/{project}/pool`: what is kept ahead of demand for a project.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::project::Pool;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::View);
    Endpoint::new(Method::GET, "/api/v1/projects/{project}/pool", access, handler).doc(
        Doc::new(
            "getPool",
            "What is kept ahead of demand for a project on each runner: size, demand, hits, cost.",
        )
        .gives::<Vec<Pool>>(200)
        .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(project): Place<String>,
) -> Result<Json<Vec<Pool>>, Problem> {
    views::projects::pool(&app, &principal, &project).await.map(Json)
}
