//! `POST /api/v1/projects/{project}/pull-requests/{number}/merge`: merges a pull request.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::pull_request::{Merge, Merged};

use crate::{
    actions::pull_requests as actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::POST,
        "/api/v1/projects/{project}/pull-requests/{number}/merge",
        Access::Allows(Action::Merge),
        handler,
    )
    .doc(
        Doc::new(
            "mergePullRequest",
            "Merges a pull request. Conflicts are reported, never forced.",
        )
        .takes::<Merge>()
        .gives::<Merged>(200)
        .problems(&[
            Code::NotFound,
            Code::HeadMoved,
            Code::MergeConflict,
            Code::PullRequestState,
        ]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
    Body(merge): Body<Merge>,
) -> Result<Json<Merged>, Problem> {
    actions::merge(&app, &principal, &project, number, merge).await.map(Json)
}
