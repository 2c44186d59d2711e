//! `POST /api/v1/runner/join`: a runner joins by a one-time code. Without a token: the code is the
//! credential, and what it gives is a token that the runner made for itself.

use axum::{Json, extract::State, http::Method};
use windlass_run::{Labels, RunnerId, TokenId};
use windlass_store::{
    identity::SecretHash,
    work::{self, NewRunner},
};
use windlass_wire::runner::{Join, Joined};

use super::register::same_protocol;
use crate::{
    actions::accounts::check_name,
    endpoint::{Access, Endpoint},
    extract::Bytes,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::POST, "/api/v1/runner/join", Access::OwnCredential, handler)
}

async fn handler(State(app): State<AppState>, Bytes(body): Bytes) -> Result<Json<Joined>, Problem> {
    // The code is in the body: what can't be read has none.
    let join: Join = serde_json::from_slice(&body).map_err(|error| {
        Problem::new(Code::NotSignedIn, format!("no code can be read: {error}"))
    })?;
    same_protocol(join.protocol)?;
    let token = digest(&join.token_sha256).ok_or_else(|| {
        Problem::new(Code::BadRequest, "it has 64 hexadecimal digits").at("token_sha256")
    })?;
    let now = app.now();
    let runner = NewRunner {
        id: RunnerId::new(now, app.random()),
        organisation_id: app.organisation_id().clone(),
        name: check_name(&join.name)?,
        version: join.version,
        capacity: 0,
        environments: 0,
        labels: Labels::default(),
    };
    let name = runner.name.clone();
    let join = work::Join {
        code: SecretHash::of(&join.code),
        runner,
        token_id: TokenId::new(now, app.random()),
        token,
    };
    let Some(runner_id) = app.store().join_runner(join, now).await? else {
        let why = "the code is unknown, used or expired; make another: `windlass runner invite`";
        return Err(Problem::new(Code::NotSignedIn, why).at("code"));
    };
    tracing::info!(%runner_id, name, "a runner joined");
    Ok(Json(Joined { runner_id }))
}

fn digest(hex: &str) -> Option<SecretHash> {
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[place * 2..place * 2 + 2], 16).ok()?;
    }
    Some(SecretHash(bytes))
}
