//! `DELETE /api/v1/runners/{runner}`: removes a runner.

use axum::{
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_wire::api::runner::RemoveRunner;

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Keys, Place},
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ManageRunner);
    Endpoint::new(Method::DELETE, "/api/v1/runners/{runner}", access, handler).doc(
        Doc::new("removeRunner", "Removes a runner and takes its token back.")
            .query::<RemoveRunner>()
            .gives_nothing(204)
            .problems(&[Code::NotFound, Code::Conflict]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(runner): Place<String>,
    Keys(how): Keys<RemoveRunner>,
) -> Result<StatusCode, Problem> {
    actions::runners::remove(&app, &principal, &runner, how.force).await?;
    Ok(StatusCode::NO_CONTENT)
}
