//! `POST /api/v1/hooks/{hook}/finish`: takes only the newest secret of a hook from now on.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::hook::Hook;

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ManageConnection);
    Endpoint::new(Method::POST, "/api/v1/hooks/{hook}/finish", access, handler).doc(
        Doc::new("finishHook", "Takes only the newest secret of a hook from now on.")
            .gives::<Hook>(200)
            .problems(&[Code::NotFound, Code::Conflict]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<Json<Hook>, Problem> {
    actions::hooks::finish(&app, &principal, &name).await.map(Json)
}
