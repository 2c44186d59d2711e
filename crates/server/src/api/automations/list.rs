//! `GET /api/v1/automations`: automations by name.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{Page, PageQuery, automation::AutomationSummary};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let path = "/api/v1/automations";
    let access = Access::Allows(Action::View);
    Endpoint::new(Method::GET, path, access, handler).doc(
        Doc::new("listAutomations", "Automations by name, with how they go.")
            .query::<PageQuery>()
            .gives::<Page<AutomationSummary>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(query): Keys<PageQuery>,
) -> Result<Json<Page<AutomationSummary>>, Problem> {
    views::automations::list(&app, &principal, query).await.map(Json)
}
