//! `GET /api/v1/jobs/{job}/diff`: the work so far, as a git patch.

use axum::{
    extract::State,
    http::{Method, header},
    response::{IntoResponse as _, Response},
};
use windlass_policy::permission::Action;
use windlass_run::JobId;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/jobs/{job}/diff", Access::Allows(Action::View), handler)
        .doc(
            Doc::new(
                "getJobDiff",
                "The job's work so far, as a git patch; empty while there is none.",
            )
            .gives_bytes("text/x-diff")
            .problems(&[Code::NotFound]),
        )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(job_id): Place<JobId>,
) -> Result<Response, Problem> {
    let patch = views::streams::diff(&app, &principal, &job_id).await?.unwrap_or_default();
    Ok(([(header::CONTENT_TYPE, "text/x-diff; charset=utf-8")], patch).into_response())
}
