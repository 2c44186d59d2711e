//! The watchdog: whatever's time has come is acted on by the job machine, inside of the store.

use std::time::Duration;

use crate::{problem::Problem, state::AppState};

/// The longest time between two looks.
const LONGEST: Duration = Duration::from_secs(1);

/// The shortest.
const SHORTEST: Duration = Duration::from_millis(50);

pub(super) async fn round(app: &AppState) -> Result<Duration, Problem> {
    let now = app.now();
    let watched = app.store().watch(now).await?;
    for job_id in &watched.requeued {
        tracing::info!(%job_id, "a lease was lost; the job waits again");
    }
    for job_id in &watched.ended {
        tracing::info!(%job_id, "a job was ended by a limit or a lost lease");
    }
    let wait = watched.next.map_or(LONGEST, |next| next.since(now).to_std());
    Ok(wait.clamp(SHORTEST, LONGEST))
}
