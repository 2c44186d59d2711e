//! `POST /api/v1/runner/register`: a runner process says that it is there.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::{RunnerId, actor::Actor};
use windlass_store::work::{NewRunner, Registration};
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
    same_protocol(register.protocol)?;
    let now = app.now();
    let remembered = register.previous.unwrap_or_else(|| RunnerId::new(now, app.random()));
    let runner = NewRunner {
        id: remembered,
        organisation_id: principal.organisation_id.clone(),
        name: register.name,
        version: register.version,
        capacity: register.capacity,
        environments: register.environments,
        labels: register.labels,
    };
    let name = runner.name.clone();
    let token_id = match &principal.actor {
        Actor::Token(token_id) => Some(token_id.clone()),
        Actor::User(_) | Actor::Runner(_) | Actor::System(_) => None,
    };
    let registration = Registration { runner, token_id, alive_since: now - app.lease_ttl() };
    let runner_id =
        app.store().register_runner(principal.by(), registration, now).await.map_err(|error| {
            match error {
                windlass_store::Error::Conflict { why } => Problem::new(Code::Forbidden, why),
                other => other.into(),
            }
        })?;
    tracing::info!(%runner_id, name, "a runner registered");
    let ttl = u64::try_from(app.lease_ttl().as_micros() / 1_000).unwrap_or_default();
    Ok(Json(Registered { runner_id, lease_ttl_ms: ttl, heartbeat_ms: ttl / 3, now }))
}

/// The two speak the same protocol.
///
/// # Errors
/// They don't.
pub(super) fn same_protocol(spoken: u32) -> Result<(), Problem> {
    if spoken == PROTOCOL {
        return Ok(());
    }
    let why = format!(
        "the runner speaks version {spoken} of the protocol, this server {PROTOCOL}: run the same \
         release of windlass on both"
    );
    Err(Problem::new(Code::ProtocolMismatch, why).at("protocol"))
}
