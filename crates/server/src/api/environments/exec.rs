//! `GET /api/v1/environments/{environment}/exec`: a stream on which a program is executed. The server
//! splices it with the one that the environment's runner dials, and reads nothing of it.

use axum::{
    extract::{Request, State},
    http::Method,
    response::Response,
};
use hyper_util::rt::TokioIo;
use windlass_policy::permission::Action;
use windlass_run::environment::Way;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    upgrade, views, ways,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::UseEnvironments);
    Endpoint::new(Method::GET, "/api/v1/environments/{environment}/exec", access, handler).doc(
        Doc::new(
            "execInEnvironment",
            "Executes a program in an environment, on a stream after an upgrade of the connection to \
             `windlass-attach-1`.",
        )
        .gives_nothing(101)
        .problems(&[Code::Forbidden, Code::NotFound, Code::EnvironmentState, Code::Busy]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    mut request: Request,
) -> Result<Response, Problem> {
    let answer = upgrade::answer(&request)?;
    let row = views::environments::find_to_use(&app, &principal, &name).await?;
    let mut dialled = ways::open(&app, &principal, &row, Way::Exec).await?;
    let asked = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let splice = async {
            let Ok(asked) = asked.await else { return };
            let mut asked = TokioIo::new(asked);
            if let Err(error) = tokio::io::copy_bidirectional(&mut asked, &mut dialled).await {
                tracing::debug!(%error, "a stream into an environment broke off");
            }
        };
        ways::while_admitted(&app, &principal, &row.id, splice).await;
    });
    Ok(answer)
}
