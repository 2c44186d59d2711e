//! `PATCH /api/v1/projects/{project}`: changes what a project wants of its environments.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::project::{ChangeSettings, Project};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::PATCH,
        "/api/v1/projects/{project}",
        Access::Allows(Action::ManageProject),
        handler,
    )
    .doc(
        Doc::new("changeProject", "Changes what a project wants of its environments.")
            .takes::<ChangeSettings>()
            .gives::<Project>(200)
            .problems(&[Code::NotFound, Code::BadRequest]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(project): Place<String>,
    Body(change): Body<ChangeSettings>,
) -> Result<Json<Project>, Problem> {
    actions::projects::change(&app, &principal, &project, change).await.map(Json)
}
