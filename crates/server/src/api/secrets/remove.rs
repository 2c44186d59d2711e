//! `DELETE /api/v1/secrets/{secret}`: removes a secret or variable.

use axum::{
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_run::SecretId;

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ManageOwnSecrets);
    Endpoint::new(Method::DELETE, "/api/v1/secrets/{secret}", access, handler).doc(
        Doc::new("removeSecret", "Removes a secret or variable: an admin any, others their own.")
            .gives_nothing(204)
            .problems(&[Code::Forbidden, Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(secret_id): Place<SecretId>,
) -> Result<StatusCode, Problem> {
    actions::secrets::remove(&app, &principal, &secret_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
