//! What the end of an automation's run tells triggers: an event, kept in the transaction in which the run ends.

use serde_json::json;
use windlass_run::{
    EventId, ProjectId, Time,
    event::{Ancestry, Event, Link, Trust},
    job::Outcome,
};

use crate::{
    Error,
    events::{self, keep},
    runs::Standing,
    writer::{memory::Run, tx::Tx},
};

/// Keeps that a run has ended, if it is one of an automation. `project_id` is the one that it was on, if it was
/// on one alone. A fleet that settles again after a retry is told of once, as it was the first time.
pub(crate) fn ended(
    tx: &mut Tx<'_>,
    run: &Run,
    project_id: Option<&ProjectId>,
    outcome: Outcome,
    at: Time,
) -> Result<(), Error> {
    let Some(automation) = &run.automation else { return Ok(()) };
    let outcome = Standing::Ended(outcome).as_str();
    let tally = &run.tally;
    let event = Event {
        id: EventId::of(run.id.as_str(), "ended"),
        source: "automation".to_owned(),
        delivery: run.id.to_string(),
        kind: format!("automation.{outcome}"),
        subject: Some(automation.to_string()),
        time: at,
        project_id: project_id.cloned(),
        actor: None,
        trust: Trust::Own,
        ancestry: ancestry(tx, run, automation)?,
        data: json!({
            "automation": **automation,
            "outcome": outcome,
            "run": { "id": run.id, "title": *run.title, "created_at": run.created_at },
            "jobs": {
                "all": tally.jobs,
                "succeeded": tally.succeeded,
                "gave_up": tally.gave_up,
                "failed": tally.failed,
                "cancelled": tally.cancelled,
                "skipped": tally.skipped,
            },
        }),
    };
    keep::raise(tx, &run.organisation_id, &[event], at)
}

/// What everything that the run causes descends from.
fn ancestry(tx: &mut Tx<'_>, run: &Run, automation: &str) -> Result<Ancestry, Error> {
    let sql = "SELECT e.id, e.ancestry FROM firings f JOIN events e ON e.id = f.event_id \
               WHERE f.run_id = $1 AND f.organisation_id = $2";
    let key = [run.id.as_str().into(), run.organisation_id.as_str().into()];
    let mut rows = tx.read(sql, &key)?;
    let Some(row) = rows.first_mut() else {
        return Ok(events::by_hand(&run.id, automation.to_owned()));
    };
    let (event_id, before): (EventId, Ancestry) = (row.parsed(0)?, row.json(1)?);
    let automation = automation.to_owned();
    Ok(before.with(Link { event_id, run_id: run.id.clone(), automation }))
}
