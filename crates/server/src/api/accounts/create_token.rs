//! `POST /api/v1/tokens`: makes a service token.

use axum::{
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_wire::api::account::{CreatedToken, NewToken};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Body,
    idempotency::ShownOnce,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::POST, "/api/v1/tokens", Access::Allows(Action::ManageOwnTokens), handler).doc(
        Doc::new("createToken", "Makes a service token with at most one's own rights; an admin also makes those of runners.")
            .takes::<NewToken>()
            .gives::<CreatedToken>(201)
            .problems(&[Code::Forbidden]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(new): Body<NewToken>,
) -> Result<(StatusCode, ShownOnce<CreatedToken>), Problem> {
    let created = actions::accounts::create_token(&app, &principal, new).await?;
    Ok((StatusCode::CREATED, ShownOnce(created)))
}
