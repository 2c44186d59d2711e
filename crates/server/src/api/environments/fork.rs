//! `POST /api/v1/environments/{environment}/fork`: another one that begins with its work tree.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::environment::{Environment, ForkEnvironment};

use crate::{
    actions::environments as actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::UseEnvironments);
    Endpoint::new(Method::POST, "/api/v1/environments/{environment}/fork", access, handler).doc(
        Doc::new(
            "forkEnvironment",
            "Creates an environment that begins with the work tree of this one as it is now.",
        )
        .takes::<ForkEnvironment>()
        .gives::<Environment>(200)
        .problems(&[
            Code::BadRequest,
            Code::Forbidden,
            Code::NotFound,
            Code::EnvironmentState,
            Code::NameTaken,
            Code::LimitReached,
        ]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    Body(fork): Body<ForkEnvironment>,
) -> Result<Json<Environment>, Problem> {
    actions::fork(&app, &principal, &name, fork.name).await.map(Json)
}
