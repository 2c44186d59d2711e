//! `POST /api/v1/environments/{environment}/start`: wants it to run.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::environment::Command;
use windlass_wire::api::environment::Environment;

use crate::{
    actions::environments as actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::UseEnvironments);
    Endpoint::new(Method::POST, "/api/v1/environments/{environment}/start", access, handler).doc(
        Doc::new("startEnvironment", "Starts an environment: its work tree is as it was left.")
            .gives::<Environment>(200)
            .problems(&[
                Code::Forbidden,
                Code::NotFound,
                Code::EnvironmentState,
                Code::LimitReached,
            ]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<Json<Environment>, Problem> {
    actions::command(&app, &principal, &name, Command::Start).await.map(Json)
}
