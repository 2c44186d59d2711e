//! `GET /api/v1/classes/{class}`: one environment class.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::class::EnvironmentClass;

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
    Endpoint::new(Method::GET, "/api/v1/classes/{class}", access, handler).doc(
        Doc::new("getClass", "One environment class, by its name.")
            .gives::<EnvironmentClass>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(class): Place<String>,
) -> Result<Json<EnvironmentClass>, Problem> {
    views::classes::one(&app, &principal, &class).await.map(Json)
}
