//! `GET /api/v1/environments/{environment}/log`: the end of the log of its last start.

use axum::{
    extract::State,
    http::{Method, header},
    response::{IntoResponse as _, Response},
};
use windlass_policy::permission::Action;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::View);
    Endpoint::new(Method::GET, "/api/v1/environments/{environment}/log", access, handler).doc(
        Doc::new("getEnvironmentLog", "The end of the log of an environment's last start.")
            .gives_bytes("text/plain")
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<Response, Problem> {
    let log = views::environments::log(&app, &principal, &name).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], log).into_response())
}
