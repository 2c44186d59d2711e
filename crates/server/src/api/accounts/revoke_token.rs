//! `DELETE /api/v1/tokens/{token}`: takes a service token back.

use axum::{
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_run::TokenId;

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::DELETE,
        "/api/v1/tokens/{token}",
        Access::Allows(Action::ManageOwnTokens),
        handler,
    )
    .doc(
        Doc::new("revokeToken", "Takes a service token back: an admin any, others their own.")
            .gives_nothing(204)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(token_id): Place<TokenId>,
) -> Result<StatusCode, Problem> {
    actions::accounts::revoke_token(&app, &principal, &token_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
