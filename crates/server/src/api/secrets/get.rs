//! `GET /api/v1/secrets/{secret}`: one secret or variable, without the value of a secret.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::SecretId;
use windlass_wire::api::secret::Secret;

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
    Endpoint::new(Method::GET, "/api/v1/secrets/{secret}", access, handler).doc(
        Doc::new("getSecret", "One secret or variable, without the value of a secret.")
            .gives::<Secret>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(secret_id): Place<SecretId>,
) -> Result<Json<Secret>, Problem> {
    views::secrets::one(&app, &principal, &secret_id).await.map(Json)
}
