//! `DELETE /api/v1/environments/{environment}`: deletes it.

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
    Endpoint::new(Method::DELETE, "/api/v1/environments/{environment}", access, handler).doc(
        Doc::new("deleteEnvironment", "Stops and deletes an environment. It can be had back for a day; work that no repository has is kept.")
            .gives::<Environment>(200)
            .problems(&[Code::Forbidden, Code::NotFound, Code::EnvironmentState]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<Json<Environment>, Problem> {
    let by = principal.by();
    actions::command(&app, &principal, &name, Command::Delete { by }).await.map(Json)
}
