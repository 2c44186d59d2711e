//! `GET /api/v1/environments/{environment}`: one environment.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::environment::Environment;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::View);
    Endpoint::new(Method::GET, "/api/v1/environments/{environment}", access, handler).doc(
        Doc::new("getEnvironment", "One environment by its id or name.")
            .gives::<Environment>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<Json<Environment>, Problem> {
    views::environments::one(&app, &principal, &name).await.map(Json)
}
