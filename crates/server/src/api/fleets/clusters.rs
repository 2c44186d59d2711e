//! `GET /api/v1/fleets/{run}/clusters`: what its changes have in common.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::RunId;
use windlass_wire::api::fleet::Cluster;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::GET,
        "/api/v1/fleets/{run}/clusters",
        Access::Allows(Action::View),
        handler,
    )
    .doc(
        Doc::new(
            "listClusters",
            "Clusters of the changes of a fleet that are alike, the largest first.",
        )
        .gives::<Vec<Cluster>>(200)
        .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
) -> Result<Json<Vec<Cluster>>, Problem> {
    views::fleets::all_clusters(&app, &principal, &run_id).await.map(Json)
}
