//! `GET /api/v1/hooks/{hook}`: one hook.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::hook::Hook;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ViewSettings);
    Endpoint::new(Method::GET, "/api/v1/hooks/{hook}", access, handler).doc(
        Doc::new("getHook", "One hook, without its secret.")
            .gives::<Hook>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<Json<Hook>, Problem> {
    views::hooks::one(&app, &principal, &name).await.map(Json)
}
