//! `POST /api/v1/automations/{automation}/pause`: keeps it from starting by itself.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::automation::{AutomationDetail, PauseAutomation};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let path = "/api/v1/automations/{automation}/pause";
    let access = Access::Allows(Action::ManageAutomation);
    Endpoint::new(Method::POST, path, access, handler).doc(
        Doc::new("pauseAutomation", "Keeps an automation from starting anything by itself.")
            .takes::<PauseAutomation>()
            .gives::<AutomationDetail>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    Body(asked): Body<PauseAutomation>,
) -> Result<Json<AutomationDetail>, Problem> {
    actions::automations::change::pause(&app, &principal, &name, Some(asked.reason)).await?;
    views::automations::one(&app, &principal, &name).await.map(Json)
}
