//! `POST /api/v1/runners/invitations`: makes a code by which one runner can join.

use axum::{
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_wire::api::runner::{Invitation, NewInvitation};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Body,
    idempotency::ShownOnce,
    problem::Problem,
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ManageRunner);
    Endpoint::new(Method::POST, "/api/v1/runners/invitations", access, handler).doc(
        Doc::new("inviteRunner", "Makes a code by which one runner can join, once.")
            .takes::<NewInvitation>()
            .gives::<Invitation>(201),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(new): Body<NewInvitation>,
) -> Result<(StatusCode, ShownOnce<Invitation>), Problem> {
    let invitation = actions::runners::invite(&app, &principal, new).await?;
    Ok((StatusCode::CREATED, ShownOnce(invitation)))
}
