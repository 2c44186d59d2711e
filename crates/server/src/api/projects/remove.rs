//! `DELETE /api/v1/projects/{project}`: removes a project.

use axum::{
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::DELETE,
        "/api/v1/projects/{project}",
        Access::Allows(Action::ManageProject),
        handler,
    )
    .doc(
        Doc::new("removeProject", "Removes a project. Its runs stay.")
            .gives_nothing(204)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(project): Place<String>,
) -> Result<StatusCode, Problem> {
    actions::projects::remove(&app, &principal, &project).await?;
    Ok(StatusCode::NO_CONTENT)
}
