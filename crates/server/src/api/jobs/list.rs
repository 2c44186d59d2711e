//! `GET /api/v1/jobs`: jobs, newest first.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{
    Page,
    job::{JobSummary, JobsQuery},
};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/jobs", Access::Allows(Action::View), handler).doc(
        Doc::new("listJobs", "Jobs, newest first.")
            .query::<JobsQuery>()
            .gives::<Page<JobSummary>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(query): Keys<JobsQuery>,
) -> Result<Json<Page<JobSummary>>, Problem> {
    let project_id = match &query.project {
        None => None,
        Some(name) => Some(views::projects::find(&app, &principal, name).await?.id),
    };
    let wanted = views::jobs::Wanted {
        project_id,
        state: query.state,
        live: query.live,
        cursor: query.cursor,
        limit: query.limit,
    };
    views::jobs::list(&app, &principal, wanted).await.map(Json)
}
