//! Services and tasks of an environment that runs, as its runner has them now. To be seen by whoever may
//! use the environment.

use windlass_wire::{
    api::service::Automation,
    automation::{Ask, Of, Told},
};

use super::environments::find_to_use;
use crate::{
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
    ways::automation::{Log, ask},
};

/// How services and tasks stand.
///
/// # Errors
/// Somebody else's environment, or one that does not run; its runner does not answer.
pub async fn automation(
    app: &AppState,
    principal: &Principal,
    name: &str,
) -> Result<Automation, Problem> {
    let row = find_to_use(app, principal, name).await?;
    match ask(app, &row, &Ask::Look).await? {
        (Told::Automation { automation }, _) => Ok(automation),
        _ => Err(strange()),
    }
}

/// The output of a service, or of a task's last run: the end of it that is kept, and what comes if that is
/// wanted.
///
/// # Errors
/// As [`automation`]; there is none of that name.
pub(crate) async fn log(
    app: &AppState,
    principal: &Principal,
    name: &str,
    of: Of,
    after: u64,
    follow: bool,
) -> Result<Log, Problem> {
    let row = find_to_use(app, principal, name).await?;
    match ask(app, &row, &Ask::Log { of, after, follow }).await? {
        (Told::Log { .. }, log) => Ok(log),
        _ => Err(strange()),
    }
}

/// The answer is of another kind than the question.
pub(crate) fn strange() -> Problem {
    let why = "the runner gave an answer that does not fit: it may be of another version";
    Problem::new(Code::EnvironmentState, why)
}
