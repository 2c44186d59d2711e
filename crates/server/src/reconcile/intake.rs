//! Deliveries that were acknowledged and not handled yet, oldest first. One that fails for good is
//! marked so that it does not stand in the way; one that fails for now is met again.

use std::time::Duration;

use crate::{hooks, problem::Problem, state::AppState};

/// How many deliveries one round takes.
const ROUND: u32 = 50;

/// How long to wait when there is nothing to do. A delivery that comes meanwhile wakes this.
const IDLE: Duration = Duration::from_secs(30);

/// How long to wait when a host could not be asked.
const LATER: Duration = Duration::from_secs(10);

pub(super) async fn round(app: &AppState) -> Result<Duration, Problem> {
    let deliveries = app.store().unhandled(ROUND).await?;
    let is_full = deliveries.len() == ROUND as usize;
    let mut wait = if is_full { Duration::ZERO } else { IDLE };
    for (number, delivery) in deliveries {
        let outcome = match hooks::github::handle(app, &delivery).await {
            Ok(outcome) => outcome.to_owned(),
            Err(problem) if problem.code.status() >= 500 || problem.code.status() == 429 => {
                tracing::info!(%problem, "a delivery is handled later");
                wait = LATER;
                continue;
            }
            Err(problem) => format!("refused: {problem}"),
        };
        app.store().handled(number, outcome, app.now()).await?;
    }
    Ok(wait)
}
