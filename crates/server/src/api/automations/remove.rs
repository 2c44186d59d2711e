//! `DELETE /api/v1/automations/{automation}`: removes it.

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
    let path = "/api/v1/automations/{automation}";
    let access = Access::Allows(Action::ManageAutomation);
    Endpoint::new(Method::DELETE, path, access, handler).doc(
        Doc::new("removeAutomation", "Removes an automation. Its versions and runs stay.")
            .gives_nothing(204)
            .problems(&[Code::NotFound, Code::InvalidAutomation, Code::Conflict]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<StatusCode, Problem> {
    actions::automations::change::remove(&app, &principal, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
