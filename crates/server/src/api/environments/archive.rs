//! `POST /api/v1/environments/{environment}/archive`: puts it away.

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
    Endpoint::new(Method::POST, "/api/v1/environments/{environment}/archive", access, handler).doc(
        Doc::new("archiveEnvironment", "Stops an environment and puts it away.")
            .gives::<Environment>(200)
            .problems(&[Code::Forbidden, Code::NotFound, Code::EnvironmentState]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<Json<Environment>, Problem> {
    actions::command(&app, &principal, &name, Command::Archive).await.map(Json)
}
