//! `DELETE /api/v1/keys/{key}`: removes a key.

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
    let access = Access::Allows(Action::UseEnvironments);
    Endpoint::new(Method::DELETE, "/api/v1/keys/{key}", access, handler).doc(
        Doc::new("removeKey", "Removes a key of yours; connections that it opened are cut.")
            .gives_nothing(204)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(id): Place<String>,
) -> Result<StatusCode, Problem> {
    actions::keys::remove(&app, &principal, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
