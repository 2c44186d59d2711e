//! `DELETE /api/v1/environments/{environment}/ports/{port}`: closes a port.

use axum::{
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;

use crate::{
    actions::ports as actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::UseEnvironments);
    let path = "/api/v1/environments/{environment}/ports/{port}";
    Endpoint::new(Method::DELETE, path, access, handler).doc(
        Doc::new(
            "unpublishPort",
            "Closes a published port of an environment. What is open to it is cut at once.",
        )
        .gives_nothing(204)
        .problems(&[Code::BadRequest, Code::Forbidden, Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place((name, port)): Place<(String, String)>,
) -> Result<StatusCode, Problem> {
    actions::unpublish(&app, &principal, &name, &port).await?;
    Ok(StatusCode::NO_CONTENT)
}
