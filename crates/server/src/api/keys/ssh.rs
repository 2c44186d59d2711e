//! `GET /api/v1/ssh`: where SSH listens, and by which key it is known.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::account::Ssh;

use crate::{
    endpoint::{Access, Doc, Endpoint},
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::UseEnvironments);
    Endpoint::new(Method::GET, "/api/v1/ssh", access, handler).doc(
        Doc::new("getSsh", "Where SSH into environments listens, and by which key it is known.")
            .gives::<Ssh>(200)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(State(app): State<AppState>) -> Result<Json<Ssh>, Problem> {
    let ssh = app.ssh().ok_or_else(|| {
        Problem::not_found("SSH here: start the server with `windlass up --ssh ADDRESS`")
    })?;
    Ok(Json(ssh.clone()))
}
