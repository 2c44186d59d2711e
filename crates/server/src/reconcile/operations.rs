//! What is done to many changes of a fleet, one after the other. Each is looked at before anything is done to
//! it, and is done as who asked for it may do it now; what came of it is written down before the next.

use std::time::Duration;

use windlass_store::fleets::FleetRow;

use crate::{fleets, problem::Problem, state::AppState};

/// How long to wait when nothing is to be done. What is asked for meanwhile wakes this.
const IDLE: Duration = Duration::from_secs(60);

pub(super) async fn round(app: &AppState) -> Result<Duration, Problem> {
    for fleet in app.store().live_fleets().await? {
        go_on(app, &fleet).await?;
    }
    Ok(IDLE)
}

async fn go_on(app: &AppState, fleet: &FleetRow) -> Result<(), Problem> {
    while let Some(taken) = app.store().next_of_operation(fleet).await? {
        let outcome = fleets::operate(app, fleet, &taken).await?;
        let (organisation_id, run_id) = (fleet.organisation_id.clone(), fleet.run_id.clone());
        app.store().through(organisation_id, run_id, taken, outcome, app.now()).await?;
    }
    Ok(())
}
