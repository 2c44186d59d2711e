//! `POST /api/v1/runs`: starts a task.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use windlass_policy::permission::Action;
use windlass_wire::api::run::{NewRun, StartedRun};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Body,
    idempotency,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::POST, "/api/v1/runs", Access::Allows(Action::StartRun), handler).doc(
        Doc::new("createRun", "Starts a task.")
            .takes::<NewRun>()
            .gives::<StartedRun>(201)
            .problems(&[
                Code::InvalidSpec,
                Code::MissingBranch,
                Code::EmptyRepository,
                Code::NotARepository,
            ]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    headers: HeaderMap,
    Body(new): Body<NewRun>,
) -> Result<Response, Problem> {
    let key = idempotency::key(&headers)?;
    let started = actions::runs::start(&app, &principal, new, key).await?;
    let address = format!("/api/v1/runs/{}", started.run_id);
    Ok((StatusCode::CREATED, [(header::LOCATION, address)], Json(started)).into_response())
}
