//! `GET /api/v1/automations/drift`: what syncs would change.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::automation::AutomationPlan;

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let path = "/api/v1/automations/drift";
    let access = Access::Allows(Action::View);
    Endpoint::new(Method::GET, path, access, handler).doc(
        Doc::new(
            "automationDrift",
            "Where what is in force is not what the projects that are followed say.",
        )
        .gives::<Vec<AutomationPlan>>(200)
        .problems(&[Code::InvalidAutomation, Code::MissingBranch]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
) -> Result<Json<Vec<AutomationPlan>>, Problem> {
    actions::automations::sync::drift(&app, &principal).await.map(Json)
}
