//! Events that were kept and not handled yet, oldest first: what each means for what is here already, a
//! pull request or a prebuild. One that fails for good is marked so that it does not stand in the way;
//! one that fails for now is met again.

use std::{collections::HashSet, time::Duration};

use crate::{hooks, problem::Problem, state::AppState};

/// How many events are read at once.
const PAGE: u32 = 200;

/// How long to wait when there is nothing to do. An event that comes meanwhile wakes this.
const IDLE: Duration = Duration::from_secs(30);

/// How long to wait when a host could not be asked.
const LATER: Duration = Duration::from_secs(10);

pub(super) async fn round(app: &AppState) -> Result<Duration, Problem> {
    let mut wait = IDLE;
    let mut after = 0;
    // Where one could not be handled, those after it from the same source wait too: in their order.
    let mut waiting = HashSet::new();
    loop {
        let events = app.store().unhandled_events(after, PAGE).await?;
        let Some(last) = events.last() else { return Ok(wait) };
        after = last.number;
        let mut handled = Vec::with_capacity(events.len());
        for kept in events {
            let place = (kept.organisation_id.clone(), kept.event.source.clone());
            if waiting.contains(&place) {
                continue;
            }
            let outcome = match hooks::github::handle(app, &kept).await {
                Ok(outcome) => outcome.to_owned(),
                Err(problem) if problem.code.status() >= 500 || problem.code.status() == 429 => {
                    tracing::info!(%problem, "an event is handled later");
                    wait = LATER;
                    waiting.insert(place);
                    continue;
                }
                Err(problem) => format!("refused: {problem}"),
            };
            handled.push((kept.organisation_id, kept.event.id, outcome));
        }
        if !handled.is_empty() {
            app.store().events_handled(handled, app.now()).await?;
        }
    }
}
