//! `GET /api/v1/classes`: the environment classes.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::class::EnvironmentClass;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::View);
    Endpoint::new(Method::GET, "/api/v1/classes", access, handler).doc(
        Doc::new("listClasses", "The environment classes: `default` first, then by name.")
            .gives::<Vec<EnvironmentClass>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
) -> Result<Json<Vec<EnvironmentClass>>, Problem> {
    views::classes::list(&app, &principal).await.map(Json)
}
