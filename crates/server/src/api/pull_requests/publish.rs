//! `POST /api/v1/projects/{project}/pull-requests/{number}/publish`: makes the change visible in the project's own repository.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::pull_request::Published;

use crate::{
    actions::pull_requests as actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::POST,
        "/api/v1/projects/{project}/pull-requests/{number}/publish",
        Access::Allows(Action::Merge),
        handler,
    )
    .doc(
        Doc::new(
            "publishPullRequest",
            "For a project from a path: makes the change visible there as a branch.",
        )
        .gives::<Published>(200)
        .problems(&[Code::NotFound, Code::Conflict]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
) -> Result<Json<Published>, Problem> {
    actions::publish(&app, &principal, &project, number).await.map(Json)
}
