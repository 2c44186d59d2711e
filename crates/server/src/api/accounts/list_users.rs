//! `GET /api/v1/users`: all users.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{Page, PageQuery, account::User};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/users", Access::Allows(Action::ViewSettings), handler).doc(
        Doc::new("listUsers", "All users, oldest first, in one page.")
            .query::<PageQuery>()
            .gives::<Page<User>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(_): Keys<PageQuery>,
) -> Result<Json<Page<User>>, Problem> {
    let items = views::accounts::users(&app, &principal).await?;
    Ok(Json(Page { items, next: None }))
}
