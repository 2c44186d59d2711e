//! `GET /api/v1/pull-requests`: pull requests, newest change first.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{
    Page,
    pull_request::{PullRequestSummary, PullRequestsQuery},
};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/pull-requests", Access::Allows(Action::View), handler).doc(
        Doc::new("listPullRequests", "Pull requests, newest change first.")
            .query::<PullRequestsQuery>()
            .gives::<Page<PullRequestSummary>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(query): Keys<PullRequestsQuery>,
) -> Result<Json<Page<PullRequestSummary>>, Problem> {
    views::pull_requests::list(&app, &principal, query).await.map(Json)
}
