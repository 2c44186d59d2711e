//! `GET /api/v1/search`: search over runs, jobs, pull requests and projects.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::search::{SearchQuery, SearchResult};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/search", Access::Allows(Action::View), handler).doc(
        Doc::new("search", "What has all the words in its title or name.")
            .query::<SearchQuery>()
            .gives::<SearchResult>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(query): Keys<SearchQuery>,
) -> Result<Json<SearchResult>, Problem> {
    views::search::search(&app, &principal, query).await.map(Json)
}
