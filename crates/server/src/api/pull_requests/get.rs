//! `GET /api/v1/projects/{project}/pull-requests/{number}`: one pull request with its conversation.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::pull_request::PullRequest;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::GET,
        "/api/v1/projects/{project}/pull-requests/{number}",
        Access::Allows(Action::View),
        handler,
    )
    .doc(
        Doc::new("getPullRequest", "One pull request with its conversation.")
            .gives::<PullRequest>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
) -> Result<Json<PullRequest>, Problem> {
    views::pull_requests::one(&app, &principal, &project, number).await.map(Json)
}
