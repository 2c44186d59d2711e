//! `POST /api/v1/automations/plan`: says what applying files would do.

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
    let path = "/api/v1/automations/plan";
    let access = Access::Allows(Action::ManageAutomation);
    Endpoint::new(Method::POST, path, access, handler).body_limit(super::LIMIT).doc(
        Doc::new("planAutomations", "Says what applying automation files would do.")
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
    actions::automations::change::plan(&app, &principal, asked).await.map(Json)
}
