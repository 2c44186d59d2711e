//! `POST /api/v1/hooks/{hook}/rotate`: gives a hook a new secret.

use axum::{extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::hook::{HookWithSecret, RotateHook};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    idempotency::ShownOnce,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ManageConnection);
    Endpoint::new(Method::POST, "/api/v1/hooks/{hook}/rotate", access, handler).doc(
        Doc::new(
            "rotateHook",
            "Gives a hook a new secret; the one before is taken too for a while.",
        )
        .takes::<RotateHook>()
        .gives::<HookWithSecret>(200)
        .problems(&[Code::NotFound, Code::Conflict]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    Body(rotate): Body<RotateHook>,
) -> Result<ShownOnce<HookWithSecret>, Problem> {
    actions::hooks::rotate(&app, &principal, &name, rotate).await.map(ShownOnce)
}
