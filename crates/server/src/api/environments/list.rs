//! `GET /api/v1/environments`: environments, the newest first.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{
    Page,
    environment::{Environment, EnvironmentsQuery},
};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::View);
    Endpoint::new(Method::GET, "/api/v1/environments", access, handler).doc(
        Doc::new(
            "listEnvironments",
            "Environments, the newest first; archived and deleted ones only if asked for.",
        )
        .query::<EnvironmentsQuery>()
        .gives::<Page<Environment>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(query): Keys<EnvironmentsQuery>,
) -> Result<Json<Page<Environment>>, Problem> {
    views::environments::list(&app, &principal, query).await.map(Json)
}
