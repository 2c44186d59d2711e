//! `POST /api/v1/environments`: creates an environment.

use axum::{
    Json,
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_wire::api::environment::{Environment, NewEnvironment};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Body,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::UseEnvironments);
    Endpoint::new(Method::POST, "/api/v1/environments", access, handler).doc(
        Doc::new(
            "createEnvironment",
            "Creates an environment of a project. It starts as soon as a runner has room.",
        )
        .takes::<NewEnvironment>()
        .gives::<Environment>(201)
        .problems(&[
            Code::NotFound,
            Code::MissingBranch,
            Code::NameTaken,
            Code::LimitReached,
        ]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(new): Body<NewEnvironment>,
) -> Result<(StatusCode, Json<Environment>), Problem> {
    let created = actions::environments::create(&app, &principal, new).await?;
    Ok((StatusCode::CREATED, Json(created)))
}
