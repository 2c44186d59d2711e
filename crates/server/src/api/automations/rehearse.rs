//! `POST /api/v1/automations/rehearse`: what an automation file would have started. Changes nothing.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::automation::{RehearseAutomation, RehearsedAutomation};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Body,
    problem::{Code, Problem},
    state::AppState,
    views,
};

/// One file, with room.
const LIMIT: usize = 2 << 20;

pub(super) fn endpoint() -> Endpoint {
    let path = "/api/v1/automations/rehearse";
    Endpoint::new(Method::POST, path, Access::Allows(Action::View), handler).body_limit(LIMIT).doc(
        Doc::new("rehearseAutomation", "What a file would have started of the last events.")
            .takes::<RehearseAutomation>()
            .gives::<RehearsedAutomation>(200)
            .problems(&[Code::InvalidAutomation]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(asked): Body<RehearseAutomation>,
) -> Result<Json<RehearsedAutomation>, Problem> {
    views::rehearsals::rehearse(&app, &principal, asked).await.map(Json)
}
