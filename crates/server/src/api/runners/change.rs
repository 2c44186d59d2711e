//! `PATCH /api/v1/runners/{runner}`: tells a runner what is wanted of it.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::runner::{Runner, RunnerChange};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ManageRunner);
    Endpoint::new(Method::PATCH, "/api/v1/runners/{runner}", access, handler).doc(
        Doc::new("changeRunner", "Tells a runner to work, to take nothing more, or to start anew.")
            .takes::<RunnerChange>()
            .gives::<Runner>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(runner): Place<String>,
    Body(change): Body<RunnerChange>,
) -> Result<Json<Runner>, Problem> {
    actions::runners::wish(&app, &principal, &runner, change.wish).await.map(Json)
}
