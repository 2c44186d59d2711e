//! `POST /api/v1/fleets/{run}/split`: splits changes off their clusters.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::RunId;
use windlass_wire::api::fleet::{Fleet, SplitOff};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::POST,
        "/api/v1/fleets/{run}/split",
        Access::Allows(Action::RequestChanges),
        handler,
    )
    .doc(
        Doc::new("splitCluster", "Splits changes off their clusters.")
            .takes::<SplitOff>()
            .gives::<Fleet>(200)
            .problems(&[Code::NotFound, Code::Conflict, Code::BadRequest]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Body(asked): Body<SplitOff>,
) -> Result<Json<Fleet>, Problem> {
    actions::fleets::split(&app, &principal, &run_id, asked).await?;
    views::fleets::one(&app, &principal, &run_id).await.map(Json)
}
