//! The watch over environments: idle ones are stopped, lives end, deleted ones are removed when
//! nobody can want them back any more, and what was under way on a silent runner is lost until it is
//! back. The machine decides, inside of the store.

use std::time::Duration;

use crate::{environments::LOST_AFTER, problem::Problem, state::AppState};

/// The time between two looks.
const BETWEEN: Duration = Duration::from_secs(1);

pub(super) async fn round(app: &AppState) -> Result<Duration, Problem> {
    let now = app.now();
    let changed = app.store().watch_environments(now).await?;
    for environment_id in &changed {
        tracing::info!(%environment_id, "an environment's time has come");
    }
    if !changed.is_empty() {
        app.environments().changed();
        app.admission_narrows();
    }
    for runner_id in app.store().environment_runners(app.organisation_id()).await? {
        if !app.environments().is_silent(&runner_id, now) {
            continue;
        }
        let name = app.store().runner_name(app.organisation_id(), &runner_id).await?;
        let why = format!(
            "The runner {} was not heard of for {} s. The work tree is on its machine and found again when it \
             is back.",
            name.unwrap_or_else(|| runner_id.to_string()),
            LOST_AFTER.as_micros() / 1_000_000
        );
        for environment_id in app.store().lose_environments(runner_id.clone(), why, now).await? {
            tracing::warn!(%environment_id, %runner_id, "an environment is lost until its runner is back");
        }
    }
    Ok(BETWEEN)
}
