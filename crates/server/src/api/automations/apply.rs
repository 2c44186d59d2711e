//! `POST /api/v1/automations/apply`: puts files in force.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::automation::{ApplyAutomations, AutomationPlan};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Body,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let path = "/api/v1/automations/apply";
    let access = Access::Allows(Action::ManageAutomation);
    Endpoint::new(Method::POST, path, access, handler).body_limit(super::LIMIT).doc(
        Doc::new("applyAutomations", "Puts automation files in force, all of them or none.")
            .takes::<ApplyAutomations>()
            .gives::<AutomationPlan>(200)
            .problems(&[Code::InvalidAutomation, Code::Conflict]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(asked): Body<ApplyAutomations>,
) -> Result<Json<AutomationPlan>, Problem> {
    actions::automations::change::apply(&app, &principal, asked).await.map(Json)
}
