//! `GET /api/v1/openapi.json`: this API, as OpenAPI 3.1.

use axum::{Json, http::Method};
use serde_json::Value;

use crate::{
    endpoint::{Access, Doc, Endpoint},
    router,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/openapi.json", Access::Public, handler)
        .doc(Doc::new("getOpenApi", "This API, as OpenAPI 3.1.").gives_bytes("application/json"))
}

async fn handler() -> Json<Value> {
    Json(router::openapi())
}
