//! `POST /api/v1/automations/{automation}/resume`: lets it start by itself again.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::automation::AutomationDetail;

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let path = "/api/v1/automations/{automation}/resume";
    let access = Access::Allows(Action::ManageAutomation);
    Endpoint::new(Method::POST, path, access, handler).doc(
        Doc::new("resumeAutomation", "Lets a paused automation start by itself again.")
            .gives::<AutomationDetail>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<Json<AutomationDetail>, Problem> {
    actions::automations::change::pause(&app, &principal, &name, None).await?;
    views::automations::one(&app, &principal, &name).await.map(Json)
}
