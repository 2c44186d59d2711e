//! `GET /api/v1/automations/{automation}`: one automation.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::automation::AutomationDetail;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let path = "/api/v1/automations/{automation}";
    let access = Access::Allows(Action::View);
    Endpoint::new(Method::GET, path, access, handler).doc(
        Doc::new("getAutomation", "One automation: its file, its next starts, its newest runs.")
            .gives::<AutomationDetail>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<Json<AutomationDetail>, Problem> {
    views::automations::one(&app, &principal, &name).await.map(Json)
}
