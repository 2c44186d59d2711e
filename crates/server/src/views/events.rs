//! Events: what happened, and what became of it.

use windlass_run::{EventId, Time, event::Trust};
use windlass_store::events::{Filter, Kept, Slice};
use windlass_wire::api::{
    Page,
    event::{Event, EventActor, EventAncestor, EventFiring, EventSummary, EventsQuery},
};

use super::{cursor_number, page_size, projects};
use crate::{
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
};

/// Events, newest first.
///
/// # Errors
/// A query that can't be read; a project that is not there; the store's failures.
pub async fn list(
    app: &AppState,
    principal: &Principal,
    query: EventsQuery,
) -> Result<Page<EventSummary>, Problem> {
    let limit = page_size(query.limit)?;
    let slice = Slice { before: cursor_number(query.cursor.as_deref())?, limit };
    let project_id = match &query.project {
        Some(project) => Some(projects::find(app, principal, project).await?.id),
        None => None,
    };
    let filter = Filter {
        source: query.source,
        kind: query.kind,
        subject: query.subject,
        project_id,
        actor: query.actor,
        trust: query.trust.as_deref().map(trust).transpose()?,
        handled: query.handled,
        since: query.since.map(Time::from_micros),
        search: query.text,
    };
    let rows = app.store().events(&principal.organisation_id, filter, slice).await?;
    let next =
        (rows.len() == limit as usize).then(|| rows.last().map(|row| row.number.to_string()));
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(summary(app, row).await);
    }
    Ok(Page { items, next: next.flatten() })
}

/// One event.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn one(
    app: &AppState,
    principal: &Principal,
    event_id: &EventId,
) -> Result<Event, Problem> {
    let organisation_id = &principal.organisation_id;
    let mut kept = app.store().event(organisation_id, event_id).await?;
    let firings = app.store().firings_of_event(organisation_id, event_id).await?;
    let ancestor = |link: &windlass_run::event::Link| EventAncestor {
        event_id: link.event_id.clone(),
        run_id: link.run_id.clone(),
        automation: link.automation.clone(),
    };
    let firing = |row: windlass_store::events::FiringRow| EventFiring {
        automation: row.firing.automation,
        trigger: row.firing.trigger,
        run_id: row.firing.run_id,
        outcome: row.firing.outcome,
        reason: row.firing.reason,
        at: row.at.as_micros(),
    };
    Ok(Event {
        ancestry: kept.event.ancestry.links().iter().map(ancestor).collect(),
        firings: firings.into_iter().map(firing).collect(),
        data: kept.event.data.take(),
        summary: summary(app, kept).await,
    })
}

async fn summary(app: &AppState, kept: Kept) -> EventSummary {
    let event = kept.event;
    let project = match &event.project_id {
        Some(project_id) => Some(app.project_name(&kept.organisation_id, project_id).await),
        None => None,
    };
    let (handled_at, outcome) =
        kept.handled.map(|handled| (handled.at.as_micros(), handled.outcome)).unzip();
    EventSummary {
        id: event.id,
        source: event.source,
        delivery: event.delivery,
        kind: event.kind,
        subject: event.subject,
        project,
        project_id: event.project_id,
        actor: event.actor.map(|it| EventActor { name: it.name, id: it.id, bot: it.bot }),
        trust: event.trust.name().to_owned(),
        time: event.time.as_micros(),
        received_at: kept.received_at.as_micros(),
        repeats: kept.repeats,
        handled_at,
        outcome,
    }
}

fn trust(word: &str) -> Result<Trust, Problem> {
    let all = [Trust::Own, Trust::Member, Trust::Known, Trust::Public];
    all.into_iter().find(|trust| trust.name() == word).ok_or_else(|| {
        Problem::new(Code::BadRequest, "trust is own, member, known or public").at("trust")
    })
}
