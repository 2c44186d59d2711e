//! `POST /api/v1/projects/{project}/pull-requests/{number}/follow-up`: sends comments back to the agent.

use axum::{
    Json,
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_wire::api::pull_request::{FollowUp, FollowUpStarted};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::POST, "/api/v1/projects/{project}/pull-requests/{number}/follow-up", Access::Allows(Action::SteerAgent), handler).doc(
        Doc::new("followUp", "Sends comments back to the agent as a follow-up turn: a new job that continues the last one.")
            .takes::<FollowUp>()
            .gives::<FollowUpStarted>(201)
            .problems(&[Code::NotFound, Code::PullRequestState, Code::InvalidSpec]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
    Body(follow_up): Body<FollowUp>,
) -> Result<(StatusCode, Json<FollowUpStarted>), Problem> {
    let started = actions::follow_up::start(&app, &principal, &project, number, follow_up).await?;
    Ok((StatusCode::CREATED, Json(started)))
}
