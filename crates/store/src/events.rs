//! Events: what happened, kept once each, found by what they say of themselves, and what became of them.
//! Nothing here knows what an event means. Which triggers it wakes is decided elsewhere and told here,
//! in the transaction that says that the event was handled.

pub mod fire;
pub(crate) mod keep;
mod rows;

pub(crate) use rows::trust;

use windlass_run::{
    EventId, OrganisationId, ProjectId, RunId, Time,
    actor::By,
    event::{Ancestry, Event, Link, Trust},
};

use crate::{Error, Store, database::Row, writer::tx::who};

/// The most that the data of an event may have as JSON, in bytes.
pub const MOST_DATA: usize = 1 << 20;

/// An event as it was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Its place in the order of arrival.
    pub number: u64,
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// When it arrived.
    pub received_at: Time,
    /// The event that it says again, if somebody replayed it.
    pub repeats: Option<EventId>,
    /// When it was handled and what came of it; absent while it waits.
    pub handled: Option<Handled>,
    /// The event. In lists without its data: that is `null` there.
    pub event: Event,
}

/// That an event was handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handled {
    /// When.
    pub at: Time,
    /// A word or a sentence on what came of it.
    pub outcome: String,
}

/// What came of handing an event in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The id under which it is kept.
    pub id: EventId,
    /// False if it was there already: then nothing was changed, and `id` is that of the one there.
    pub fresh: bool,
}

/// What a trigger made of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    /// The name of the automation that the trigger belongs to.
    pub automation: String,
    /// The trigger's own name for itself.
    pub trigger: String,
    /// The run that it started.
    pub run_id: Option<RunId>,
    /// One word: `fired`, `filtered`, `duplicate`, ...
    pub outcome: String,
    /// Why, for a person.
    pub reason: String,
}

/// A firing as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FiringRow {
    /// Its place in the order of all.
    pub number: u64,
    /// The event.
    pub event_id: EventId,
    /// When.
    pub at: Time,
    /// What the trigger made of it.
    pub firing: Firing,
}

/// Which events are wanted. Those fields that are set must all hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only those from there, in full.
    pub source: Option<String>,
    /// Only those of this family or kind: `push`, `pull_request`, `pull_request.opened`.
    pub kind: Option<String>,
    /// Only those about this.
    pub subject: Option<String>,
    /// Only those of this project.
    pub project_id: Option<ProjectId>,
    /// Only those that were caused by whoever has this name.
    pub actor: Option<String>,
    /// Only those of this trust.
    pub trust: Option<Trust>,
    /// Only those that were handled (`Some(true)`), or wait (`Some(false)`).
    pub handled: Option<bool>,
    /// Only those that arrived then or later.
    pub since: Option<Time>,
    /// Only those in which all of these words are (the last one as a prefix).
    pub search: Option<String>,
}

/// Which part of a list is wanted, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Only rows with a smaller `number`; absent for the first page.
    pub before: Option<u64>,
    /// How many rows at most, 1 to 200.
    pub limit: u32,
}

impl Store {
    /// Keeps an event, durably, unless there is one of the same source and delivery.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one whose data is larger than [`MOST_DATA`] or that has a text which no
    /// database takes.
    pub async fn receive_event(
        &self,
        organisation_id: OrganisationId,
        event: Event,
        now: Time,
    ) -> Result<Received, Error> {
        let kept = keep::Prepared::of(organisation_id, event, None, now)?;
        self.command(move |tx| keep::receive(tx, &kept)).await
    }

    /// Keeps an event again as a new one, that is handled anew: the same but for its id, its delivery,
    /// which names the one it repeats, and `repeats`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn replay_event(
        &self,
        by: By,
        organisation_id: OrganisationId,
        event_id: EventId,
        new_id: EventId,
        now: Time,
    ) -> Result<Received, Error> {
        let kept = self.event(&organisation_id, &event_id).await?;
        // A replay of a replay repeats the first of them, so that the way back is one step.
        let first = kept.repeats.unwrap_or(event_id);
        let delivery = format!("replay:{first}:{new_id}");
        let event = Event { id: new_id, delivery, ..kept.event };
        let kept = keep::Prepared::of(organisation_id, event, Some(first), now)?;
        let who = who(&by);
        self.command(move |tx| keep::replay(tx, &who, &kept)).await
    }

    /// Events that nobody has handled yet and whose number is larger than `after`, the oldest first, with
    /// their data.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn unhandled_events(&self, after: u64, limit: u32) -> Result<Vec<Kept>, Error> {
        let sql = format!(
            "SELECT {} FROM events WHERE handled_at IS NULL AND number > $1 ORDER BY number LIMIT $2",
            rows::COLUMNS
        );
        let values = vec![after.into(), limit.clamp(1, 1_000).into()];
        self.query(&sql, values).await?.into_iter().map(rows::kept).collect()
    }

    /// Says that an event was handled, and what its triggers made of it, in one transaction. Nothing
    /// happens if that was said before: false then.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn event_handled(
        &self,
        organisation_id: OrganisationId,
        event_id: EventId,
        outcome: String,
        firings: Vec<Firing>,
        now: Time,
    ) -> Result<bool, Error> {
        let done = keep::Done { organisation_id, event_id, outcome, firings, now };
        self.command(move |tx| keep::handled(tx, &done)).await
    }

    /// As [`Store::event_handled`], of many events that woke nothing, at once: each with its outcome.
    ///
    /// # Errors
    /// [`Error::NotFound`], and nothing is changed then.
    pub async fn events_handled(
        &self,
        events: Vec<(OrganisationId, EventId, String)>,
        now: Time,
    ) -> Result<(), Error> {
        let done = events.into_iter().map(|(organisation_id, event_id, outcome)| keep::Done {
            organisation_id,
            event_id,
            outcome,
            firings: Vec::new(),
            now,
        });
        let done: Vec<_> = done.collect();
        self.command(move |tx| done.iter().try_for_each(|done| keep::handled(tx, done).map(|_| ())))
            .await
    }

    /// What everything that a run causes descends from: the ancestry of the event that started it, and
    /// the run itself. For a run of an automation that somebody started by hand, which no event stands for,
    /// only the run. Empty for a task.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn ancestry_of_run(
        &self,
        organisation_id: &OrganisationId,
        run_id: &RunId,
    ) -> Result<Ancestry, Error> {
        let Some(fired) = self.firing_of_run(organisation_id, run_id).await? else {
            return match self.automation_of_run(organisation_id, run_id).await? {
                Some(pinned) => Ok(by_hand(run_id, pinned.automation)),
                None => Ok(Ancestry::default()),
            };
        };
        let kept = self.event(organisation_id, &fired.event_id).await?;
        Ok(kept.event.ancestry.with(Link {
            event_id: fired.event_id,
            run_id: run_id.clone(),
            automation: fired.firing.automation,
        }))
    }

    /// One event with its data.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn event(
        &self,
        organisation_id: &OrganisationId,
        event_id: &EventId,
    ) -> Result<Kept, Error> {
        let sql =
            format!("SELECT {} FROM events WHERE id = $1 AND organisation_id = $2", rows::COLUMNS);
        let values = vec![event_id.to_string().into(), organisation_id.to_string().into()];
        let row = self.query(&sql, values).await?.into_iter().next();
        rows::kept(row.ok_or_else(|| keep::not_found(event_id))?)
    }

    /// Events without their data, newest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn events(
        &self,
        organisation_id: &OrganisationId,
        filter: Filter,
        slice: Slice,
    ) -> Result<Vec<Kept>, Error> {
        let from = match filter.since {
            Some(since) => Some(self.first_event_since(since).await?),
            None => None,
        };
        let list = rows::list(self.inner.dialect, organisation_id, filter, from, slice);
        let Some((sql, values)) = list else { return Ok(vec![]) };
        self.query(&sql, values).await?.into_iter().map(rows::kept).collect()
    }

    /// A number after which the newest events are: so many of them, or all.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn before_last_events(
        &self,
        organisation_id: &OrganisationId,
        last: u32,
    ) -> Result<u64, Error> {
        let sql = "SELECT number FROM events WHERE organisation_id = $1 \
                   ORDER BY number DESC LIMIT 1 OFFSET $2";
        let values = vec![organisation_id.to_string().into(), last.into()];
        let mut rows = self.query(sql, values).await?;
        rows.first_mut().map_or(Ok(0), |row| row.natural(0))
    }

    /// Events with their data whose number is larger than `after`, the oldest first, at most 200.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn events_after(
        &self,
        organisation_id: &OrganisationId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Kept>, Error> {
        let sql = format!(
            "SELECT {} FROM events WHERE organisation_id = $1 AND number > $2 \
             ORDER BY number LIMIT $3",
            rows::COLUMNS
        );
        let values =
            vec![organisation_id.to_string().into(), after.into(), limit.clamp(1, 200).into()];
        self.query(&sql, values).await?.into_iter().map(rows::kept).collect()
    }

    /// What the triggers made of an event, in their order.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn firings_of_event(
        &self,
        organisation_id: &OrganisationId,
        event_id: &EventId,
    ) -> Result<Vec<FiringRow>, Error> {
        let sql = format!(
            "SELECT {} FROM firings WHERE event_id = $1 AND organisation_id = $2 ORDER BY number",
            rows::FIRING
        );
        let values = vec![event_id.to_string().into(), organisation_id.to_string().into()];
        self.query(&sql, values).await?.into_iter().map(rows::firing).collect()
    }

    /// What a trigger made of events, the newest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn firings_of_trigger(
        &self,
        organisation_id: &OrganisationId,
        trigger: &str,
        slice: Slice,
    ) -> Result<Vec<FiringRow>, Error> {
        let sql = format!(
            "SELECT {} FROM firings WHERE organisation_id = $1 AND trigger_key = $2 \
             AND number < $3 ORDER BY number DESC LIMIT $4",
            rows::FIRING
        );
        let values = vec![
            organisation_id.to_string().into(),
            trigger.to_owned().into(),
            slice.before.map_or(i64::MAX.into(), Into::into),
            slice.limit.clamp(1, 200).into(),
        ];
        self.query(&sql, values).await?.into_iter().map(rows::firing).collect()
    }

    /// The firing that started a run; absent if no trigger did.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn firing_of_run(
        &self,
        organisation_id: &OrganisationId,
        run_id: &RunId,
    ) -> Result<Option<FiringRow>, Error> {
        let sql = format!(
            "SELECT {} FROM firings WHERE run_id = $1 AND organisation_id = $2 LIMIT 1",
            rows::FIRING
        );
        let values = vec![run_id.to_string().into(), organisation_id.to_string().into()];
        self.query(&sql, values).await?.into_iter().next().map(rows::firing).transpose()
    }

    /// A number before which no event arrived at that time or later, by the index of ids.
    async fn first_event_since(&self, since: Time) -> Result<u64, Error> {
        let number = |rows: Vec<Row>| rows.into_iter().next().map(|mut row| row.natural(0));
        let sql = "SELECT number FROM events WHERE id >= $1 ORDER BY id LIMIT 1";
        let least = EventId::new(since, 0).to_string();
        let found = match number(self.query(sql, vec![least.into()]).await?) {
            Some(found) => found?,
            None => {
                let sql = "SELECT COALESCE(MAX(number), 0) FROM events";
                number(self.query(sql, vec![]).await?).unwrap_or(Ok(0))?
            }
        };
        // Those that arrive together may get their numbers in another order than their ids.
        Ok(found.saturating_sub(1_000))
    }
}

/// What a run descends from that somebody started by hand: from itself, under an event that is not kept.
pub(crate) fn by_hand(run_id: &RunId, automation: String) -> Ancestry {
    let event_id = EventId::of(run_id.as_str(), "by hand");
    Ancestry::default().with(Link { event_id, run_id: run_id.clone(), automation })
}
