//! Saying events again.

use windlass_run::EventId;

use crate::{auth::Principal, problem::Problem, state::AppState};

/// Says an event again, as a new one. Gives its id.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn replay(
    app: &AppState,
    principal: &Principal,
    event_id: &EventId,
) -> Result<EventId, Problem> {
    let organisation_id = principal.organisation_id.clone();
    let (new_id, now) = (app.event_id(), app.now());
    let by = principal.by();
    let received =
        app.store().replay_event(by, organisation_id, event_id.clone(), new_id, now).await?;
    Ok(received.id)
}
