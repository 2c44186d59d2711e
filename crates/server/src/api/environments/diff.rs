//! `GET /api/v1/environments/{environment}/diff`: how the work tree of an environment differs from a commit.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::file::{Diff, DiffQuery};

use super::file::PROBLEMS;
use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Keys, Place},
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::UseEnvironments);
    Endpoint::new(Method::GET, "/api/v1/environments/{environment}/diff", access, handler).doc(
        Doc::new(
            "getEnvironmentDiff",
            "How the work tree of an environment that runs differs from the commit that it began with, or \
             from the newest one made in it.",
        )
        .query::<DiffQuery>()
        .gives::<Diff>(200)
        .problems(PROBLEMS),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    Keys(query): Keys<DiffQuery>,
) -> Result<Json<Diff>, Problem> {
    views::files::diff(&app, &principal, &name, query).await.map(Json)
}
