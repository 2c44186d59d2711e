//! `POST /api/v1/hooks`: makes a hook.

use axum::{
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_wire::api::hook::{HookWithSecret, NewHook};

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
    let access = Access::Allows(Action::ManageConnection);
    Endpoint::new(Method::POST, "/api/v1/hooks", access, handler).doc(
        Doc::new(
            "createHook",
            "Makes a place that receives webhooks. Its secret is shown only now.",
        )
        .takes::<NewHook>()
        .gives::<HookWithSecret>(201)
        .problems(&[Code::NameTaken, Code::LimitReached]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(new): Body<NewHook>,
) -> Result<(StatusCode, ShownOnce<HookWithSecret>), Problem> {
    let created = actions::hooks::create(&app, &principal, new).await?;
    Ok((StatusCode::CREATED, ShownOnce(created)))
}
