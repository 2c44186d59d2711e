//! `GET /api/v1/projects/{project}`: one project, by its name or id.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::project::Project;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/projects/{project}", Access::Allows(Action::View), handler)
        .doc(
            Doc::new("getProject", "One project, by its name or id.")
                .gives::<Project>(200)
                .problems(&[Code::NotFound]),
        )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(project): Place<String>,
) -> Result<Json<Project>, Problem> {
    views::projects::one(&app, &principal, &project).await.map(Json)
}
