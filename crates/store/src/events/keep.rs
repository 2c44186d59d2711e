//! Events written: kept, repeated, handled.

use std::sync::Arc;

use serde_json::Value as Json;
use windlass_run::{EventId, OrganisationId, Time, event::Event};

use super::{Firing, MOST_DATA, Received};
use crate::{Error, dialect::search, writer::tx::Tx};

/// How many characters of an event are searched, from its kind to the texts of its data.
const SEARCHED: usize = 1_500;

/// How many bytes a text may have that an index has in it.
const LONGEST_KEY: usize = 1_200;

/// How many characters of one text in the data are searched.
const SEARCHED_OF_ONE: usize = 400;

/// An event as its row will be.
pub(super) struct Prepared {
    organisation_id: OrganisationId,
    event: Event,
    repeats: Option<EventId>,
    now: Time,
    cause: Option<String>,
    ancestry: String,
    data: String,
    words: String,
}

impl Prepared {
    /// Does outside of the writer what can be done there.
    pub(super) fn of(
        organisation_id: OrganisationId,
        event: Event,
        repeats: Option<EventId>,
        now: Time,
    ) -> Result<Self, Error> {
        for (what, text) in keys(&event) {
            if text.contains('\0') || text.len() > LONGEST_KEY {
                let why = format!(
                    "the {what} of an event has at most {LONGEST_KEY} bytes, and no NUL character"
                );
                return Err(Error::Invalid { why });
            }
        }
        let data = event.data.to_string();
        if data.len() > MOST_DATA {
            let why = format!("the data of an event has at most {MOST_DATA} bytes as JSON");
            return Err(Error::Invalid { why });
        }
        let json = |what: serde_json::Result<String>| {
            what.map_err(|error| Error::Invalid { why: format!("an event as JSON: {error}") })
        };
        Ok(Self {
            cause: event.actor.as_ref().map(serde_json::to_string).map(json).transpose()?,
            ancestry: json(serde_json::to_string(&event.ancestry))?,
            words: searched(&event),
            organisation_id,
            event,
            repeats,
            now,
            data,
        })
    }
}

/// The texts of an event that stand in indexes.
fn keys(event: &Event) -> [(&'static str, &str); 5] {
    [
        ("source", &event.source),
        ("delivery", &event.delivery),
        ("type", &event.kind),
        ("subject", event.subject.as_deref().unwrap_or_default()),
        ("actor", event.actor.as_ref().map_or("", |actor| &actor.name)),
    ]
}

/// What search finds an event by.
fn searched(event: &Event) -> String {
    let mut text = format!("{} {}", event.kind, event.source);
    let actor = event.actor.as_ref().map(|actor| actor.name.as_str());
    for part in event.subject.as_deref().into_iter().chain(actor) {
        text.push(' ');
        text.push_str(part);
    }
    texts(&event.data, &mut text);
    text
}

/// Adds the texts of a JSON value, in its order, until there is enough.
fn texts(value: &Json, text: &mut String) {
    if text.len() > SEARCHED {
        return;
    }
    match value {
        Json::String(part) => {
            text.push(' ');
            text.extend(part.chars().take(SEARCHED_OF_ONE));
        }
        Json::Number(part) => {
            text.push(' ');
            text.push_str(&part.to_string());
        }
        Json::Array(parts) => parts.iter().for_each(|part| texts(part, text)),
        Json::Object(parts) => parts.values().for_each(|part| texts(part, text)),
        Json::Null | Json::Bool(_) => {}
    }
}

pub(super) fn not_found(id: &EventId) -> Error {
    Error::NotFound { what: "event", id: id.to_string() }
}

/// Keeps what a command of another room causes, in its transaction.
pub(crate) fn raise(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    events: &[Event],
    now: Time,
) -> Result<(), Error> {
    for event in events {
        let new = Prepared::of(organisation_id.clone(), event.clone(), None, now)?;
        receive(tx, &new)?;
    }
    Ok(())
}

/// Keeps an event that is not there yet.
pub(super) fn receive(tx: &mut Tx<'_>, new: &Prepared) -> Result<Received, Error> {
    let Prepared { organisation_id, event, .. } = new;
    let sql = "SELECT id FROM events WHERE organisation_id = $1 AND source = $2 AND delivery = $3";
    let key = [organisation_id.as_str().into(), (&event.source).into(), (&event.delivery).into()];
    if let Some(row) = tx.read(sql, &key)?.first_mut() {
        return Ok(Received { id: row.parsed(0)?, fresh: false });
    }
    let number = tx.number();
    tx.memory.marks.events += 1;
    tx.write(
        "INSERT INTO events (number, id, organisation_id, source, delivery, kind, family, subject, \
         project_id, actor, cause, trust, at, received_at, ancestry, data, repeats) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        &[
            number.into(),
            event.id.as_str().into(),
            organisation_id.as_str().into(),
            (&event.source).into(),
            (&event.delivery).into(),
            (&event.kind).into(),
            event.family().into(),
            event.subject.as_ref().into(),
            event.project_id.as_ref().map(|id| id.as_str()).into(),
            event.actor.as_ref().map(|actor| actor.name.as_str()).into(),
            new.cause.as_ref().into(),
            event.trust.name().into(),
            event.time.into(),
            new.now.into(),
            (&new.ancestry).into(),
            (&new.data).into(),
            new.repeats.as_ref().map(EventId::as_str).into(),
        ],
    )?;
    let insert = search::insert(tx.dialect(), "events_search");
    let words = search::text(tx.dialect(), &new.words);
    tx.write(&insert, &[number.into(), words.into()])?;
    Ok(Received { id: event.id.clone(), fresh: true })
}

/// Keeps an event that somebody repeats.
pub(super) fn replay(tx: &mut Tx<'_>, who: &Arc<str>, new: &Prepared) -> Result<Received, Error> {
    let received = receive(tx, new)?;
    if received.fresh {
        let repeats = new.repeats.as_ref().map(EventId::as_str);
        let detail = serde_json::json!({ "repeats": repeats }).to_string();
        let organisation_id = &new.organisation_id;
        tx.audit(who, organisation_id, "event.replay", received.id.as_str(), detail, new.now);
    }
    Ok(received)
}

/// That an event was handled.
pub(crate) struct Done {
    pub organisation_id: OrganisationId,
    pub event_id: EventId,
    pub outcome: String,
    pub firings: Vec<Firing>,
    pub now: Time,
}

/// A firing with what its trigger remembers it by.
pub(crate) struct Fired {
    pub firing: Firing,
    pub same: Option<String>,
    pub about: Option<String>,
}

impl From<Firing> for Fired {
    fn from(firing: Firing) -> Self {
        Self { firing, same: None, about: None }
    }
}

/// Marks an event as handled, with what its triggers made of it. False if that was done before.
pub(crate) fn handled(tx: &mut Tx<'_>, done: &Done) -> Result<bool, Error> {
    if is_handled(tx, &done.organisation_id, &done.event_id)? {
        return Ok(false);
    }
    mark(tx, done)?;
    for firing in &done.firings {
        let fired = firing.clone().into();
        self::fired(tx, &done.organisation_id, &done.event_id, &fired, done.now)?;
    }
    Ok(true)
}

/// Whether an event was handled.
pub(super) fn is_handled(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    event_id: &EventId,
) -> Result<bool, Error> {
    let sql = "SELECT handled_at FROM events WHERE id = $1 AND organisation_id = $2";
    let mut found = tx.read(sql, &[event_id.as_str().into(), organisation_id.as_str().into()])?;
    let row = found.first_mut().ok_or_else(|| not_found(event_id))?;
    Ok(row.maybe_int(0)?.is_some())
}

/// Marks an event as handled.
pub(super) fn mark(tx: &mut Tx<'_>, done: &Done) -> Result<(), Error> {
    tx.memory.marks.handled += 1;
    tx.write(
        "UPDATE events SET handled_at = $1, outcome = $2 WHERE id = $3",
        &[done.now.into(), (&done.outcome).into(), done.event_id.as_str().into()],
    )
}

/// Keeps what one trigger made of an event.
pub(super) fn fired(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    event_id: &EventId,
    Fired { firing, same, about }: &Fired,
    now: Time,
) -> Result<(), Error> {
    let number = tx.number();
    tx.write(
        "INSERT INTO firings (number, organisation_id, event_id, automation, trigger_key, \
         run_id, outcome, reason, at, same, about) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         ON CONFLICT (event_id, trigger_key) DO NOTHING",
        &[
            number.into(),
            organisation_id.as_str().into(),
            event_id.as_str().into(),
            (&firing.automation).into(),
            (&firing.trigger).into(),
            firing.run_id.as_ref().map(|id| id.as_str()).into(),
            (&firing.outcome).into(),
            (&firing.reason).into(),
            now.into(),
            same.as_ref().into(),
            about.as_ref().into(),
        ],
    )
}
