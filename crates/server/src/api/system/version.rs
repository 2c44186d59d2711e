//! `GET /api/v1/version`: which server answers.

use axum::{Json, http::Method};
use windlass_wire::{api::system::Version, runner::PROTOCOL};

use crate::endpoint::{Access, Doc, Endpoint};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/version", Access::Public, handler)
        .doc(Doc::new("getVersion", "Which server answers.").gives::<Version>(200))
}

async fn handler() -> Json<Version> {
    Json(Version {
        name: "windlass".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        runner_protocol: PROTOCOL,
    })
}
