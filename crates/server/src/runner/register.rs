//! `POST /api/v1/runner/register`: a runner process says that it is there.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::RunnerId;
use windlass_store::work::NewRunner;
use windlass_wire::runner::{PROTOCOL, Register, Registered};

use crate::{
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::Body,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::Lease);
    Endpoint::new(Method::POST, "/api/v1/runner/register", access, handler)
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(register): Body<Register>,
) -> Result<Json<Registered>, Problem> {
    if register.protocol != PROTOCOL {
        let why = format!(
            "the runner speaks version {} of the protocol, this server {PROTOCOL}: run the same \
             release of windlass on both",
            register.protocol
        );
        return Err(Problem::new(Code::ProtocolMismatch, why).at("protocol"));
    }
    let now = app.now();
    let runner_id = register.previous.unwrap_or_else(|| RunnerId::new(now, app.random()));
    let runner = NewRunner {
        id: runner_id.clone(),
        organisation_id: principal.organisation_id.clone(),
        name: register.name,
        version: register.version,
        capacity: register.capacity,
    };
    tracing::info!(%runner_id, name = runner.name, "a runner registered");
    app.store().register_runner(principal.by(), runner, now).await?;
    let ttl = u64::try_from(app.lease_ttl().as_micros() / 1_000).unwrap_or_default();
    Ok(Json(Registered { runner_id, lease_ttl_ms: ttl, heartbeat_ms: ttl / 3, now }))
}
