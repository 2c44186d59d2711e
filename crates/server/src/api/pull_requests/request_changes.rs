//! `POST /api/v1/projects/{project}/pull-requests/{number}/request-changes`: asks for changes.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::pull_request::{NewReview, PullRequest};

use crate::{
    actions::pull_requests as actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::POST,
        "/api/v1/projects/{project}/pull-requests/{number}/request-changes",
        Access::Allows(Action::RequestChanges),
        handler,
    )
    .doc(
        Doc::new("requestChanges", "Asks for changes to the head that was looked at.")
            .takes::<NewReview>()
            .gives::<PullRequest>(200)
            .problems(&[Code::NotFound, Code::HeadMoved, Code::PullRequestState]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
    Body(new): Body<NewReview>,
) -> Result<Json<PullRequest>, Problem> {
    actions::request_changes(&app, &principal, &project, number, new).await?;
    views::pull_requests::one(&app, &principal, &project, number).await.map(Json)
}
