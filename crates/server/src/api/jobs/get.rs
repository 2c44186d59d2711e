//! `GET /api/v1/jobs/{job}`: one job with its steps and effects.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::JobId;
use windlass_wire::api::job::Job;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/jobs/{job}", Access::Allows(Action::View), handler).doc(
        Doc::new("getJob", "One job with its steps and effects.")
            .gives::<Job>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(job_id): Place<JobId>,
) -> Result<Json<Job>, Problem> {
    views::jobs::one(&app, &principal, &job_id).await.map(Json)
}
