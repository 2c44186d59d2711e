//! `GET /api/v1/jobs/{job}/steps`: the steps of a job.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::JobId;
use windlass_wire::api::{Page, job::Step};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/jobs/{job}/steps", Access::Allows(Action::View), handler)
        .doc(
            Doc::new("listSteps", "The steps of a job, in order.")
                .gives::<Page<Step>>(200)
                .problems(&[Code::NotFound]),
        )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(job_id): Place<JobId>,
) -> Result<Json<Page<Step>>, Problem> {
    let job = views::jobs::one(&app, &principal, &job_id).await?;
    Ok(Json(Page { items: job.steps, next: None }))
}
