//! `DELETE /api/v1/hooks/{hook}`: removes a hook.

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
    let access = Access::Allows(Action::ManageConnection);
    Endpoint::new(Method::DELETE, "/api/v1/hooks/{hook}", access, handler).doc(
        Doc::new("removeHook", "Removes a hook. What it received stays.")
            .gives_nothing(204)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<StatusCode, Problem> {
    actions::hooks::remove(&app, &principal, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
