//! `GET /api/v1/secrets`: secrets and variables, without the values of secrets.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{
    Page,
    secret::{Secret, SecretsQuery},
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
    let access = Access::Allows(Action::ViewSettings);
    Endpoint::new(Method::GET, "/api/v1/secrets", access, handler).doc(
        Doc::new(
            "listSecrets",
            "Secrets and variables by name, without the values of secrets. Other users' are for \
             admins only.",
        )
        .query::<SecretsQuery>()
        .gives::<Page<Secret>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(query): Keys<SecretsQuery>,
) -> Result<Json<Page<Secret>>, Problem> {
    views::secrets::list(&app, &principal, query).await.map(Json)
}
