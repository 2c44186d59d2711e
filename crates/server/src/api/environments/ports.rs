//! `GET /api/v1/environments/{environment}/ports`: which ports are published, and which could be.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::port::Ports;

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
    Endpoint::new(Method::GET, "/api/v1/environments/{environment}/ports", access, handler).doc(
        Doc::new(
            "listPorts",
            "The ports of an environment: those that are published, each with its address, and those that \
             its repository names.",
        )
        .gives::<Ports>(200)
        .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<Json<Ports>, Problem> {
    views::ports::list(&app, &principal, &name).await.map(Json)
}
