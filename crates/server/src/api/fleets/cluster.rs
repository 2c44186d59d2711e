//! `GET /api/v1/fleets/{run}/clusters/{cluster}`: one cluster with its changes and a sample.

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
        "/api/v1/fleets/{run}/clusters/{cluster}",
        Access::Allows(Action::View),
        handler,
    )
    .doc(
        Doc::new(
            "getCluster",
            "One cluster with its changes, and those to look at before all are approved.",
        )
        .gives::<Cluster>(200)
        .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place((run_id, cluster)): Place<(RunId, String)>,
) -> Result<Json<Cluster>, Problem> {
    views::fleets::one_cluster(&app, &principal, &run_id, &cluster).await.map(Json)
}
