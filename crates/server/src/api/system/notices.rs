//! `GET /api/v1/health/notices`: what is not well and needs somebody.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::notice::{Notice, NoticesQuery};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::View);
    Endpoint::new(Method::GET, "/api/v1/health/notices", access, handler).doc(
        Doc::new("listNotices", "What is not well and needs somebody, the newest first.")
            .query::<NoticesQuery>()
            .gives::<Vec<Notice>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(query): Keys<NoticesQuery>,
) -> Result<Json<Vec<Notice>>, Problem> {
    views::notices::list(&app, &principal, query.all.unwrap_or_default()).await.map(Json)
}
