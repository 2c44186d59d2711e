//! `POST /api/v1/jobs/{job}/cancel`: asks a job to stop.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::JobId;
use windlass_wire::api::{job::Job, run::Cancel};

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
        "/api/v1/jobs/{job}/cancel",
        Access::Allows(Action::CancelRun),
        handler,
    )
    .doc(
        Doc::new("cancelJob", "Asks a job to stop. A queued one ends at once.")
            .takes::<Cancel>()
            .gives::<Job>(200)
            .problems(&[Code::NotFound, Code::JobEnded]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(job_id): Place<JobId>,
    Body(cancel): Body<Cancel>,
) -> Result<Json<Job>, Problem> {
    actions::jobs::cancel(&app, &principal, &job_id, cancel.reason).await?;
    views::jobs::one(&app, &principal, &job_id).await.map(Json)
}
