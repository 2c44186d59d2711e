//! `GET /api/v1/automations/{automation}/versions`: its versions.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{Page, PageQuery, automation::AutomationVersion};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Keys, Place},
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let path = "/api/v1/automations/{automation}/versions";
    let access = Access::Allows(Action::View);
    Endpoint::new(Method::GET, path, access, handler).doc(
        Doc::new("listAutomationVersions", "The versions of an automation, newest first.")
            .query::<PageQuery>()
            .gives::<Page<AutomationVersion>>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    Keys(query): Keys<PageQuery>,
) -> Result<Json<Page<AutomationVersion>>, Problem> {
    views::automations::versions(&app, &principal, &name, query).await.map(Json)
}
