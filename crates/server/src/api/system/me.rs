//! `GET /api/v1/me`: who is asking, and what they may do.

use axum::{Json, http::Method};
use windlass_wire::api::system::Me;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/me", Access::SignedIn, handler)
        .doc(Doc::new("getMe", "Who is asking, and what they may do.").gives::<Me>(200))
}

async fn handler(principal: Principal) -> Json<Me> {
    Json(views::accounts::me(&principal))
}
