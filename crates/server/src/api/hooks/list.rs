//! `GET /api/v1/hooks`: hooks by name.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{Page, PageQuery, hook::Hook};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ViewSettings);
    Endpoint::new(Method::GET, "/api/v1/hooks", access, handler).doc(
        Doc::new("listHooks", "Hooks by name, with what they received and refused.")
            .query::<PageQuery>()
            .gives::<Page<Hook>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(query): Keys<PageQuery>,
) -> Result<Json<Page<Hook>>, Problem> {
    views::hooks::list(&app, &principal, query).await.map(Json)
}
