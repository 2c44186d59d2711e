//! `GET /api/v1/keys`: the keys of whoever asks.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::account::Key;

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    problem::Problem,
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::UseEnvironments);
    Endpoint::new(Method::GET, "/api/v1/keys", access, handler).doc(
        Doc::new("listKeys", "Your public keys for SSH, the oldest first.").gives::<Vec<Key>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
) -> Result<Json<Vec<Key>>, Problem> {
    actions::keys::list(&app, &principal).await.map(Json)
}
