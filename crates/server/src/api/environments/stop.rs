//! `POST /api/v1/environments/{environment}/stop`: wants it to stop.

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
    Endpoint::new(Method::POST, "/api/v1/environments/{environment}/stop", access, handler).doc(
        Doc::new("stopEnvironment", "Stops an environment. Its work tree is kept.")
            .gives::<Environment>(200)
            .problems(&[Code::Forbidden, Code::NotFound, Code::EnvironmentState]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<Json<Environment>, Problem> {
    let why = actions::stopped_by(&principal);
    actions::command(&app, &principal, &name, Command::Stop { why }).await.map(Json)
}
