//! `GET /api/v1/projects/{project}/pull-requests/{number}/diff.patch`: what a pull request changes, as a git patch.

use axum::{
    extract::State,
    http::{Method, header},
    response::{IntoResponse as _, Response},
};
use windlass_policy::permission::Action;
use windlass_wire::api::pull_request::DiffQuery;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Keys, Place},
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::GET,
        "/api/v1/projects/{project}/pull-requests/{number}/diff.patch",
        Access::Allows(Action::View),
        handler,
    )
    .doc(
        Doc::new(
            "getPullRequestPatch",
            "What a pull request changes, as a patch for people to read.",
        )
        .query::<DiffQuery>()
        .gives_bytes("text/x-diff")
        .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
    Keys(query): Keys<DiffQuery>,
) -> Result<Response, Problem> {
    let diff = views::pull_requests::diff(&app, &principal, &project, number, query).await?;
    let patch = views::pull_requests::patch(&diff);
    Ok(([(header::CONTENT_TYPE, "text/x-diff; charset=utf-8")], patch).into_response())
}
