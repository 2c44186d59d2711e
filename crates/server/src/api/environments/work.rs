//! `GET /api/v1/environments/{environment}/work`: work in it that no repository had, as a bundle.

use axum::{
    extract::State,
    http::{Method, header},
    response::{IntoResponse as _, Response},
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
    Endpoint::new(Method::GET, "/api/v1/environments/{environment}/work", access, handler).doc(
        Doc::new(
            "getEnvironmentWork",
            "Work in an environment that no repository had at its last stop, as a git bundle; after \
             its end too.",
        )
        .gives_bytes("application/x-git-bundle")
        .problems(&[Code::Forbidden, Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<Response, Problem> {
    let work = actions::environments::work(&app, &principal, &name).await?;
    Ok(([(header::CONTENT_TYPE, "application/x-git-bundle")], work.bytes).into_response())
}
