//! `GET /api/v1/environments/{environment}/exec`: a stream on which a program is executed. The server
//! splices it with the one that the environment's runner dials, and reads nothing of it.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::Method,
    response::Response,
};
use hyper_util::rt::TokioIo;
use windlass_policy::permission::Action;
use windlass_run::environment::Phase;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    secret::Secret,
    state::AppState,
    upgrade, views,
};

/// How long the runner may take to dial.
const PATIENCE: Duration = Duration::from_secs(10);

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
    let runner_id = match (&row.state.phase, &row.state.runner_id) {
        (Phase::Running, Some(runner_id)) => runner_id.clone(),
        _ => {
            let why = format!("the environment is {}, not running", row.state.phase.name());
            return Err(Problem::new(Code::EnvironmentState, why));
        }
    };
    let stream = Secret::fresh("stream_").expose().to_owned();
    let dialled = {
        let mut awaited = app.environments().ask(runner_id, row.id.clone(), stream);
        tokio::time::timeout(PATIENCE, &mut awaited.dialled).await
    };
    let Ok(Ok(dialled)) = dialled else {
        let why =
            "the environment's runner did not answer; try again, or see whether it still runs";
        return Err(Problem::new(Code::Busy, why).retry_after(5));
    };
    let asked = hyper::upgrade::on(&mut request);
    tracing::info!(environment = %row.id, by = ?principal.actor, "a stream into an environment begins");
    let stop = app.stopping();
    tokio::spawn(async move {
        let splice = async {
            let (Ok(asked), Ok(dialled)) = (asked.await, dialled.await) else { return };
            let (mut asked, mut dialled) = (TokioIo::new(asked), TokioIo::new(dialled));
            if let Err(error) = tokio::io::copy_bidirectional(&mut asked, &mut dialled).await {
                tracing::debug!(%error, "a stream into an environment broke off");
            }
        };
        stop.run_until_cancelled(splice).await;
    });
    Ok(answer)
}
