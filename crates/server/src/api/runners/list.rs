//! `GET /api/v1/runners`: the runners.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{Page, PageQuery, runner::Runner};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/runners", Access::Allows(Action::ViewSettings), handler)
        .doc(
            Doc::new("listRunners", "The runners that were heard of within a week, in one page.")
                .query::<PageQuery>()
                .gives::<Page<Runner>>(200),
        )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(_): Keys<PageQuery>,
) -> Result<Json<Page<Runner>>, Problem> {
    let items = views::runners::list(&app, &principal).await?;
    Ok(Json(Page { items, next: None }))
}
