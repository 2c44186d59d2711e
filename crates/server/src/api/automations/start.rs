//! `POST /api/v1/automations/{automation}/run`: starts a run of it.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use windlass_policy::permission::Action;
use windlass_wire::api::automation::{StartAutomation, StartedAutomation};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    idempotency,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let path = "/api/v1/automations/{automation}/run";
    let access = Access::Allows(Action::StartRun);
    Endpoint::new(Method::POST, path, access, handler).doc(
        Doc::new("startAutomation", "Starts a run of an automation that is in force.")
            .takes::<StartAutomation>()
            .gives::<StartedAutomation>(201)
            .problems(&[
                Code::NotFound,
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
    Place(name): Place<String>,
    headers: HeaderMap,
    Body(asked): Body<StartAutomation>,
) -> Result<Response, Problem> {
    let key = idempotency::key(&headers)?;
    let started = actions::automations::start(&app, &principal, &name, asked, key).await?;
    let address = format!("/api/v1/runs/{}", started.run_id);
    Ok((StatusCode::CREATED, [(header::LOCATION, address)], Json(started)).into_response())
}
