//! `DELETE /api/v1/automations/sync/{project}`: ends that a project is followed.

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
    let path = "/api/v1/automations/sync/{project}";
    let access = Access::Allows(Action::ManageAutomation);
    Endpoint::new(Method::DELETE, path, access, handler).doc(
        Doc::new(
            "unsyncAutomations",
            "Ends that the automation files of a project are followed. What is in force stays.",
        )
        .gives_nothing(204)
        .problems(&[Code::NotFound, Code::Conflict]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(project): Place<String>,
) -> Result<StatusCode, Problem> {
    actions::automations::sync::end(&app, &principal, &project).await?;
    Ok(StatusCode::NO_CONTENT)
}
