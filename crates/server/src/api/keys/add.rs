//! `POST /api/v1/keys`: adds a key.

use axum::{
    Json,
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_wire::api::account::{Key, NewKey};

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
    Endpoint::new(Method::POST, "/api/v1/keys", access, handler).doc(
        Doc::new(
            "addKey",
            "Adds a public key: whoever has its private key goes into your environments.",
        )
        .takes::<NewKey>()
        .gives::<Key>(201)
        .problems(&[Code::NameTaken, Code::LimitReached]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(new): Body<NewKey>,
) -> Result<(StatusCode, Json<Key>), Problem> {
    let added = actions::keys::add(&app, &principal, new).await?;
    Ok((StatusCode::CREATED, Json(added)))
}
