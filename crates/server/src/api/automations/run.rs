//! `POST /api/v1/automations/run`: starts a run of an automation file.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use windlass_policy::permission::Action;
use windlass_wire::api::automation::{RunAutomation, StartedAutomation};

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
    let path = "/api/v1/automations/run";
    Endpoint::new(Method::POST, path, Access::Allows(Action::StartRun), handler)
        .body_limit(super::LIMIT)
        .doc(
            Doc::new("runAutomation", "Starts a run of an automation file.")
                .takes::<RunAutomation>()
                .gives::<StartedAutomation>(201)
                .problems(&[
                    Code::InvalidAutomation,
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
    Body(asked): Body<RunAutomation>,
) -> Result<Response, Problem> {
    let key = idempotency::key(&headers)?;
    let started = actions::automations::run(&app, &principal, asked, key).await?;
    let address = format!("/api/v1/runs/{}", started.run_id);
    Ok((StatusCode::CREATED, [(header::LOCATION, address)], Json(started)).into_response())
}
