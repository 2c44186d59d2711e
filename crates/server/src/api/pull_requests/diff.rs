//! `GET /api/v1/projects/{project}/pull-requests/{number}/diff`: what a pull request changes, as files, hunks and lines.

use axum::{Json, extract::State, http::Method};
use serde_json::Value;
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
        "/api/v1/projects/{project}/pull-requests/{number}/diff",
        Access::Allows(Action::View),
        handler,
    )
    .doc(
        Doc::new("getPullRequestDiff", "What a pull request changes: files, hunks and lines.")
            .query::<DiffQuery>()
            .gives::<Value>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
    Keys(query): Keys<DiffQuery>,
) -> Result<Json<Value>, Problem> {
    let diff = views::pull_requests::diff(&app, &principal, &project, number, query).await?;
    serde_json::to_value(&diff)
        .map(Json)
        .map_err(|error| Problem::internal("show a difference", error))
}
