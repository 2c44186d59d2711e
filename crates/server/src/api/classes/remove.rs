//! `DELETE /api/v1/classes/{class}`: removes an environment class.

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
    let access = Access::Allows(Action::ManageRunner);
    Endpoint::new(Method::DELETE, "/api/v1/classes/{class}", access, handler).doc(
        Doc::new("removeClass", "Removes a class; `default` becomes what it was at first.")
            .gives_nothing(204)
            .problems(&[Code::NotFound, Code::Conflict]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(class): Place<String>,
) -> Result<StatusCode, Problem> {
    actions::classes::remove(&app, &principal, &class).await?;
    Ok(StatusCode::NO_CONTENT)
}
