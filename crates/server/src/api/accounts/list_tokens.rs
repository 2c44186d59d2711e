//! `GET /api/v1/tokens`: the service tokens that work.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{Page, PageQuery, account::Token};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/tokens", Access::Allows(Action::ViewSettings), handler).doc(
        Doc::new(
            "listTokens",
            "The service tokens that work, oldest first, in one page, without their secrets.",
        )
        .query::<PageQuery>()
        .gives::<Page<Token>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(_): Keys<PageQuery>,
) -> Result<Json<Page<Token>>, Problem> {
    let items = views::accounts::tokens(&app, &principal).await?;
    Ok(Json(Page { items, next: None }))
}
