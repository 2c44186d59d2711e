//! Ways into environments: a stream that the environment's runner dials, opened for somebody who may
//! use it, written into its journal, and cut as soon as they may not any more.
//!
//! Never done here: reading what crosses a stream that has a client of its own.

pub(crate) mod automation;
pub(crate) mod files;
pub(crate) mod frames;

use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use windlass_run::{
    EnvironmentId,
    actor::By,
    environment::{Command, Limits, Phase, Way},
};
use windlass_store::environments::EnvironmentRow;

use crate::{
    auth::Principal,
    problem::{Code, Problem},
    secret::Secret,
    state::AppState,
    views,
};

/// The server's end of a stream into an environment.
pub(crate) type Stream = TokioIo<Upgraded>;

/// How long the runner may take to dial.
const PATIENCE: Duration = Duration::from_secs(10);
/// After what time whoever is in an environment is asked again whether they may, where nobody said that
/// something changed: a session may be over, and another process of the server may have ended it.
const LOOK: Duration = Duration::from_secs(10);

/// Opens a stream into an environment that runs. The caller has seen that the principal may use it.
///
/// # Errors
/// It does not run; its runner does not dial; the store's failures.
pub(crate) async fn open(
    app: &AppState,
    principal: &Principal,
    row: &EnvironmentRow,
    way: Way,
) -> Result<Stream, Problem> {
    enter(app, principal, row, way).await?;
    dial_to_execute(app, principal, row).await
}

/// Writes down that somebody goes in.
///
/// # Errors
/// It does not run; the store's failures.
pub(crate) async fn enter(
    app: &AppState,
    principal: &Principal,
    row: &EnvironmentRow,
    way: Way,
) -> Result<(), Problem> {
    enter_as(app, principal.by(), row, way).await
}

/// The same for whoever has no name, too.
///
/// # Errors
/// It does not run; the store's failures.
pub(crate) async fn enter_as(
    app: &AppState,
    by: By,
    row: &EnvironmentRow,
    way: Way,
) -> Result<(), Problem> {
    let entered = app.store().command_environment(
        by.clone(),
        row.organisation_id.clone(),
        row.id.clone(),
        Command::Enter { way },
        Limits::default(),
        app.now(),
    );
    let refused = |refusal: windlass_run::environment::Refusal| {
        Problem::new(Code::EnvironmentState, refusal.to_string())
    };
    entered.await?.map_err(refused)?;
    tracing::info!(environment = %row.id, by = ?by.actor, ?way, "somebody goes into an environment");
    Ok(())
}

/// Has the environment's runner dial a stream for a program, which is given the secrets that whoever
/// executes it may have here, as they are now.
///
/// # Errors
/// It does not run, or its runner does not dial; a secret that does not open.
pub(crate) async fn dial_to_execute(
    app: &AppState,
    principal: &Principal,
    row: &EnvironmentRow,
) -> Result<Stream, Problem> {
    let given = views::secrets::of_program(app, principal, row).await?;
    dial_given(app, row, given).await
}

/// Has the environment's runner dial a stream for a connection.
///
/// # Errors
/// It does not run, or its runner does not dial.
pub(crate) async fn dial(app: &AppState, row: &EnvironmentRow) -> Result<Stream, Problem> {
    dial_given(app, row, Vec::new()).await
}

async fn dial_given(
    app: &AppState,
    row: &EnvironmentRow,
    given: Vec<windlass_wire::runner::Secret>,
) -> Result<Stream, Problem> {
    let runner_id = match (&row.state.phase, &row.state.runner_id) {
        (Phase::Running, Some(runner_id)) => runner_id.clone(),
        _ => {
            let why = format!("the environment is {}, not running", row.state.phase.name());
            return Err(Problem::new(Code::EnvironmentState, why));
        }
    };
    let stream = Secret::fresh("stream_").expose().to_owned();
    let dialled = async {
        let mut awaited = app.environments().ask(runner_id, row.id.clone(), stream, given);
        let dialled = (&mut awaited.dialled).await.ok()?;
        dialled.await.ok()
    };
    match tokio::time::timeout(PATIENCE, dialled).await {
        Ok(Some(dialled)) => Ok(TokioIo::new(dialled)),
        Ok(None) | Err(_) => {
            let why =
                "the environment's runner did not answer; try again, or see whether it still runs";
            Err(Problem::new(Code::Busy, why).retry_after(5))
        }
    }
}

/// Does the work of a stream until that is over, its user may not use the environment any more, or the
/// server stops. What can't be found out counts as a no.
pub(crate) async fn while_admitted(
    app: &AppState,
    principal: &Principal,
    id: &EnvironmentId,
    work: impl Future<Output = ()>,
) {
    tokio::select! {
        () = work => {}
        () = shut_out(app, principal, id) => {
            tracing::info!(environment = %id, by = ?principal.actor, "a way into an environment is cut");
        }
        () = app.stopping().cancelled_owned() => {}
    }
}

/// Ends when this principal may not use the environment any more.
pub(crate) async fn shut_out(app: &AppState, principal: &Principal, id: &EnvironmentId) {
    loop {
        let changed = app.admission_changed();
        match app.anew(principal).await {
            Ok(now) if views::environments::find_to_use(app, &now, id.as_str()).await.is_ok() => {}
            _ => return,
        }
        let _either = tokio::time::timeout(LOOK, changed).await;
    }
}
