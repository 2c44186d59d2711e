//! `GET /api/v1/runners/{runner}`: one runner.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::runner::Runner;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ViewSettings);
    Endpoint::new(Method::GET, "/api/v1/runners/{runner}", access, handler).doc(
        Doc::new("getRunner", "One runner, by its id or name.")
            .gives::<Runner>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(runner): Place<String>,
) -> Result<Json<Runner>, Problem> {
    views::runners::find(&app, &principal, &runner).await.map(Json)
}
