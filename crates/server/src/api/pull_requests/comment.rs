//! `POST /api/v1/projects/{project}/pull-requests/{number}/comments`: writes a comment.

use axum::{
    Json,
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_wire::api::pull_request::{Comment, NewComment};

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
        "/api/v1/projects/{project}/pull-requests/{number}/comments",
        Access::Allows(Action::Comment),
        handler,
    )
    .doc(
        Doc::new("createComment", "Writes a comment, in general or at a line of the diff.")
            .takes::<NewComment>()
            .gives::<Comment>(201)
            .problems(&[Code::NotFound, Code::BadRequest]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
    Body(new): Body<NewComment>,
) -> Result<(StatusCode, Json<Comment>), Problem> {
    let comment = actions::comment(&app, &principal, &project, number, new).await?;
    Ok((StatusCode::CREATED, Json(comment)))
}
