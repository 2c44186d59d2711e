//! `POST /api/v1/users`: invites a user, or gives one a new sign-in link.

use axum::{
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_wire::api::account::{Invited, NewUser};

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
    Endpoint::new(Method::POST, "/api/v1/users", Access::Allows(Action::ManageUsers), handler).doc(
        Doc::new("inviteUser", "Invites a user, or gives an existing one a new sign-in link.")
            .takes::<NewUser>()
            .gives::<Invited>(201)
            .problems(&[Code::NameTaken]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, ShownOnce<Invited>), Problem> {
    let invited = actions::accounts::invite(&app, &principal, new).await?;
    Ok((StatusCode::CREATED, ShownOnce(invited)))
}
