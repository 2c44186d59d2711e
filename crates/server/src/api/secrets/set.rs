//! `PUT /api/v1/secrets`: sets a secret or variable. `PUT`, since answers to `POST` with a key are
//! kept, and a digest of a guessable value is as good as the value.

use axum::{
    Json,
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_wire::api::secret::{Secret, SetSecret};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Body,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ManageOwnSecrets);
    Endpoint::new(Method::PUT, "/api/v1/secrets", access, handler).doc(
        Doc::new(
            "setSecret",
            "Sets a secret or variable; one of that name and owner gets a new version. An admin sets \
             those of the organisation and of projects, others their own.",
        )
        .takes::<SetSecret>()
        .gives::<Secret>(200)
        .problems(&[Code::Forbidden, Code::NotFound, Code::Conflict]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(new): Body<SetSecret>,
) -> Result<(StatusCode, Json<Secret>), Problem> {
    let set = actions::secrets::set(&app, &principal, new).await?;
    let status = if set.is_fresh { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(set.secret)))
}
