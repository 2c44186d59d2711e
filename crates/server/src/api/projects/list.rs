//! `GET /api/v1/projects`: projects by name.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{Page, PageQuery, project::Project};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/projects", Access::Allows(Action::View), handler).doc(
        Doc::new("listProjects", "Projects by name.")
            .query::<PageQuery>()
            .gives::<Page<Project>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(query): Keys<PageQuery>,
) -> Result<Json<Page<Project>>, Problem> {
    views::projects::list(&app, &principal, query).await.map(Json)
}
