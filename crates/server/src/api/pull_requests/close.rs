//! `POST /api/v1/projects/{project}/pull-requests/{number}/close`: closes a pull request without merging it.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::pull_request::PullRequest;

use crate::{
    actions::pull_requests as actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::POST,
        "/api/v1/projects/{project}/pull-requests/{number}/close",
        Access::Allows(Action::CloseChange),
        handler,
    )
    .doc(
        Doc::new("closePullRequest", "Closes a pull request without merging it.")
            .gives::<PullRequest>(200)
            .problems(&[Code::NotFound, Code::PullRequestState]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
) -> Result<Json<PullRequest>, Problem> {
    actions::close(&app, &principal, &project, number).await?;
    views::pull_requests::one(&app, &principal, &project, number).await.map(Json)
}
