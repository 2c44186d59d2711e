//! `GET /api/v1/health`: whether the server can do its work.

use axum::{
    Json,
    extract::State,
    http::{Method, StatusCode},
};
use windlass_wire::api::system::Health;

use crate::{
    endpoint::{Access, Doc, Endpoint},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/health", Access::Public, handler).doc(
        Doc::new("getHealth", "Whether the server can do its work; 503 if not.")
            .gives::<Health>(200),
    )
}

async fn handler(State(app): State<AppState>) -> (StatusCode, Json<Health>) {
    let store = app.store().organisations().await;
    let (status, name, store) = match store {
        Ok(_) => (StatusCode::OK, "ok", "ok".to_owned()),
        Err(error) => {
            tracing::error!(%error, "the store does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "failing", "it does not answer".to_owned())
        }
    };
    let now = app.now().as_micros();
    (status, Json(Health { status: name.to_owned(), store, now }))
}
