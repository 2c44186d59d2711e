//! `GET /api/v1/environments/{environment}/journal`: what happened to it, and who went in.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::environment::Happening;

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
    Endpoint::new(Method::GET, "/api/v1/environments/{environment}/journal", access, handler).doc(
        Doc::new(
            "getEnvironmentJournal",
            "What happened to an environment and who went in, the newest first: its last 200 decisions.",
        )
        .gives::<Vec<Happening>>(200)
        .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<Json<Vec<Happening>>, Problem> {
    views::environments::journal(&app, &principal, &name).await.map(Json)
}
