//! `POST /api/v1/classes`: makes an environment class.

use axum::{
    Json,
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_wire::api::class::{EnvironmentClass, NewClass};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Body,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ManageRunner);
    Endpoint::new(Method::POST, "/api/v1/classes", access, handler).doc(
        Doc::new("createClass", "Makes an environment class, for all projects.")
            .takes::<NewClass>()
            .gives::<EnvironmentClass>(201)
            .problems(&[Code::NameTaken, Code::LimitReached]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(new): Body<NewClass>,
) -> Result<(StatusCode, Json<EnvironmentClass>), Problem> {
    let created = actions::classes::create(&app, &principal, new).await?;
    Ok((StatusCode::CREATED, Json(created)))
}
