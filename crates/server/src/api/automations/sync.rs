//! `POST /api/v1/automations/sync`: puts the files of a project in force.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::automation::{AutomationPlan, SyncAutomations};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Body,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let path = "/api/v1/automations/sync";
    let access = Access::Allows(Action::ManageAutomation);
    Endpoint::new(Method::POST, path, access, handler).doc(
        Doc::new(
            "syncAutomations",
            "Puts the automation files of a project in force, and follows them from then on.",
        )
        .takes::<SyncAutomations>()
        .gives::<AutomationPlan>(200)
        .problems(&[
            Code::NotFound,
            Code::InvalidAutomation,
            Code::Conflict,
            Code::MissingBranch,
        ]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(asked): Body<SyncAutomations>,
) -> Result<Json<AutomationPlan>, Problem> {
    actions::automations::sync::sync(&app, &principal, asked).await.map(Json)
}
