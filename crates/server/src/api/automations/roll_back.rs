//! `POST /api/v1/automations/{automation}/rollback`: puts an earlier version in force again.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::automation::{AutomationPlan, RollBackAutomation};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let path = "/api/v1/automations/{automation}/rollback";
    let access = Access::Allows(Action::ManageAutomation);
    Endpoint::new(Method::POST, path, access, handler).doc(
        Doc::new("rollBackAutomation", "Puts an earlier version in force again, as a new one.")
            .takes::<RollBackAutomation>()
            .gives::<AutomationPlan>(200)
            .problems(&[Code::NotFound, Code::InvalidAutomation, Code::Conflict]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    Body(asked): Body<RollBackAutomation>,
) -> Result<Json<AutomationPlan>, Problem> {
    let changed = actions::automations::change::roll_back(&app, &principal, &name, asked.version);
    changed.await.map(Json)
}
