//! `PATCH /api/v1/classes/{class}`: changes an environment class.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::class::{ChangeClass, EnvironmentClass};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ManageRunner);
    Endpoint::new(Method::PATCH, "/api/v1/classes/{class}", access, handler).doc(
        Doc::new("changeClass", "Changes what a class gives to whatever is made from now on.")
            .takes::<ChangeClass>()
            .gives::<EnvironmentClass>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(class): Place<String>,
    Body(change): Body<ChangeClass>,
) -> Result<Json<EnvironmentClass>, Problem> {
    actions::classes::change(&app, &principal, &class, change).await.map(Json)
}
