//! `POST /api/v1/jobs/{job}/decide`: decides on a step that asks.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::JobId;
use windlass_wire::api::job::{Decide, Job};

use crate::{
    actions,
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
        "/api/v1/jobs/{job}/decide",
        Access::Allows(Action::AnswerStep),
        handler,
    )
    .doc(
        Doc::new("decideJob", "Approves or declines a step of a job that asks.")
            .takes::<Decide>()
            .gives::<Job>(200)
            .problems(&[Code::NotFound, Code::JobEnded, Code::Conflict]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(job_id): Place<JobId>,
    Body(asked): Body<Decide>,
) -> Result<Json<Job>, Problem> {
    actions::jobs::decide(&app, &principal, &job_id, asked).await?;
    views::jobs::one(&app, &principal, &job_id).await.map(Json)
}
