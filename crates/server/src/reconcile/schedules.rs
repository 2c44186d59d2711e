//! Schedules: each fire becomes an event, kept together with how far its schedule was handled; what it starts is
//! the business of triggers. Sleeps until something is due or an automation was changed.

use std::time::Duration;

use serde_json::json;
use windlass_run::{
    event::{Ancestry, Event, Trust},
    schedule::{Fire, MissedFires, rfc3339},
};
use windlass_store::schedules::Fired;

use crate::{
    problem::Problem,
    state::AppState,
    triggers::{
        REFUSED, UNWATCHED,
        index::{self, Index},
        timetable::{Came, Changes, Timetable},
    },
};

/// The longest sleep: clocks are set, and machines wake up.
const LONGEST: Duration = Duration::from_secs(60);

/// How many schedules are handled in one transaction.
const BATCH: usize = 200;

/// What is not well if fires were missed. The subject is the automation's name.
const MISSED: &str = "schedule-missed";

/// What is not well if a schedule never fires again. The subject is the automation's name.
const DEAD: &str = "schedule-dead";

/// What is known between rounds.
#[derive(Default)]
pub(super) struct Memory {
    table: Option<(Option<u64>, Timetable)>,
}

pub(super) async fn round(app: &AppState, memory: &mut Memory) -> Result<Duration, Problem> {
    // Whatever fails, the next round begins with what is kept.
    let table = memory.table.take();
    let mut table = current(app, table).await?;
    loop {
        let due = table.1.take_due(app.now(), BATCH);
        if due.is_empty() {
            break;
        }
        keep(app, due).await?;
    }
    let next = table.1.next_due();
    memory.table = Some(table);
    let wait = next.map_or(LONGEST, |next| next.since(app.now()).to_std());
    Ok(wait.min(LONGEST))
}

/// The timetable as automations are now.
async fn current(
    app: &AppState,
    table: Option<(Option<u64>, Timetable)>,
) -> Result<(Option<u64>, Timetable), Problem> {
    let index = index::newest(app).await?;
    let (table, changes) = match table {
        Some((mark, table)) if mark == index.mark() => return Ok((mark, table)),
        Some((_, mut table)) => {
            let changes = table.update(&index);
            (table, changes)
        }
        None => {
            let kept = app.store().schedules(app.organisation_id()).await?;
            Timetable::kept(&index, kept)
        }
    };
    take_over(app, &index, changes).await?;
    Ok((index.mark(), table))
}

async fn take_over(app: &AppState, index: &Index, changes: Changes) -> Result<(), Problem> {
    let Changes { watch, forget, dead, alive } = changes;
    if !watch.is_empty() || !forget.is_empty() {
        app.store().watch_schedules(app.organisation_id().clone(), watch, forget).await?;
    }
    for kind in [REFUSED, UNWATCHED] {
        for name in app.notices().standing(app, kind).await? {
            if index.get(&name).is_none() {
                app.notices().resolve(app, kind, &name).await?;
            }
        }
    }
    let standing = app.notices().standing(app, DEAD).await?;
    for name in standing.iter().filter(|name| !dead.contains(name)) {
        app.notices().resolve(app, DEAD, name).await?;
    }
    for name in app.notices().standing(app, MISSED).await? {
        // Paused or gone.
        if !alive.contains(&name) && !dead.contains(&name) {
            app.notices().resolve(app, MISSED, &name).await?;
        }
    }
    for name in dead {
        let text = format!(
            "A schedule of {name} never fires again: see `windlass schedule next` and its blackouts."
        );
        app.notices().raise(app, DEAD, &name, text).await?;
    }
    Ok(())
}

async fn keep(app: &AppState, due: Vec<Came>) -> Result<(), Problem> {
    let mut fired = Vec::with_capacity(due.len());
    for came in &due {
        let Some(handled) = came.due.handled else { continue };
        let events = came.due.fires.iter().map(|fire| event(app, came, fire)).collect();
        fired.push(Fired { trigger: came.trigger.clone(), handled, events });
    }
    app.store().schedules_fired(app.organisation_id().clone(), fired, app.now()).await?;
    for came in due {
        match &came.due.missed {
            Some(missed) => {
                let text = said(&came, missed);
                tracing::warn!(automation = came.automation, "{text}");
                app.notices().raise(app, MISSED, &came.automation, text).await?;
            }
            None => app.notices().resolve(app, MISSED, &came.automation).await?,
        }
    }
    Ok(())
}

fn event(app: &AppState, came: &Came, fire: &Fire) -> Event {
    Event {
        id: app.event_id(),
        source: format!("schedule/{}", came.automation),
        delivery: format!("{}@{}", came.trigger, fire.at.as_micros()),
        kind: "schedule".to_owned(),
        subject: Some(came.automation.clone()),
        time: fire.at,
        project_id: None,
        actor: None,
        trust: Trust::Own,
        ancestry: Ancestry::default(),
        data: json!({ "trigger": came.trigger, "at": fire.at, "starts_at": fire.starts_at }),
    }
}

fn said(came: &Came, missed: &MissedFires) -> String {
    let at_least = if missed.and_more { "At least " } else { "" };
    let started = missed.count - missed.dropped;
    format!(
        "{at_least}{} fires of {} were missed, the first due {} and the last {}; {} of them {} started \
         late. Was the server down? It is well again with the next fire in time.",
        missed.count,
        came.trigger,
        rfc3339(missed.first),
        rfc3339(missed.last),
        started,
        if started == 1 { "was" } else { "were" },
    )
}
