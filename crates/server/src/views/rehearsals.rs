//! What an automation file would have started, of the events that are kept. Nothing is started or written.

use serde_json::Value;
use windlass_run::{automation::Automation, trigger::Rehearsal};
use windlass_wire::api::automation::{
    RehearseAutomation, RehearsedAutomation, RehearsedEvent, RehearsedTrigger,
};

use crate::{
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
};

/// The most events that are looked at.
const MOST: u32 = 10_000;

/// How many are in memory at once.
const PAGE: u32 = 50;

/// How many of those that a trigger waits for are given.
const SHOWN: usize = 1_000;

/// What the last events would have started.
///
/// # Errors
/// A file that is refused; a number of events that can't be; the store's failures.
pub async fn rehearse(
    app: &AppState,
    principal: &Principal,
    asked: RehearseAutomation,
) -> Result<RehearsedAutomation, Problem> {
    if asked.last == 0 || asked.last > MOST {
        let why = format!("1 to {MOST} events can be looked at");
        return Err(Problem::new(Code::BadRequest, why).at("last"));
    }
    let automation = Automation::read(&asked.file.name, &asked.file.text)
        .map_err(|refused| Problem::new(Code::InvalidAutomation, refused.to_string()))?;
    let organisation_id = &principal.organisation_id;
    let mut rehearsal = Rehearsal::new(&automation);
    let mut answer = RehearsedAutomation {
        automation: automation.name.to_string(),
        looked_at: 0,
        starts: 0,
        events: Vec::new(),
        and_more: false,
    };
    let mut after = app.store().before_last_events(organisation_id, asked.last).await?;
    loop {
        let page = app.store().events_after(organisation_id, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.number;
        for kept in page {
            answer.looked_at += 1;
            let said = rehearsal.see(&kept.event, kept.received_at);
            if said.is_empty() {
                continue;
            }
            let triggers: Vec<RehearsedTrigger> = said
                .into_iter()
                .map(|(n, said)| RehearsedTrigger {
                    on: n,
                    kind: automation.triggers[n].on.name().to_owned(),
                    starts: said.is_ok(),
                    why: said.as_ref().err().map(ToString::to_string),
                    inputs: said.ok().map(|start| Value::Object(start.inputs)),
                })
                .collect();
            answer.starts += triggers.iter().filter(|trigger| trigger.starts).count() as u64;
            answer.events.push(RehearsedEvent {
                id: kept.event.id.to_string(),
                kind: kept.event.kind,
                source: kept.event.source,
                subject: kept.event.subject,
                received_at: kept.received_at.as_micros(),
                triggers,
            });
        }
    }
    // The newest are what somebody looks for.
    let over = answer.events.len().saturating_sub(SHOWN);
    answer.events.drain(..over);
    answer.and_more = over > 0;
    Ok(answer)
}
