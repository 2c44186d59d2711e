//! Rows to events and firings; filters to SQL.
//!
//! Pages are in the order of arrival, and every filter is answered by an index that is in this order
//! within its value, so a page costs what its rows cost, however many events there are: the walk begins
//! at `before` and ends when the page is full. Where several filters are set, the index of the narrowest
//! is walked and the others are looked at in its rows. SQLite, which keeps no statistics here, is told
//! which one that is: a `+` before a column keeps its index out. PostgreSQL has statistics and needs none.

use windlass_run::{
    OrganisationId,
    event::{Cause, Event, Trust},
};

use super::{Filter, Firing, FiringRow, Handled, Kept, Slice};
use crate::{
    Error,
    database::{Row, Value, readers::Values},
    dialect::{Dialect, search},
};

/// The columns that [`kept`] reads.
pub(super) const COLUMNS: &str = "number, organisation_id, received_at, repeats, handled_at, outcome, \
    id, source, delivery, kind, subject, at, project_id, cause, trust, ancestry, data";

/// As [`COLUMNS`], for lists: data can be a megabyte.
const LISTED: &str = "number, organisation_id, received_at, repeats, handled_at, outcome, \
    id, source, delivery, kind, subject, at, project_id, cause, trust, ancestry, 'null'";

/// The columns that [`firing`] reads.
pub(super) const FIRING: &str =
    "number, event_id, trigger_key, run_id, outcome, reason, at, automation";

/// An event of [`COLUMNS`].
pub(super) fn kept(mut row: Row) -> Result<Kept, Error> {
    let handled_at = row.maybe_time(4)?;
    let outcome = row.maybe_text(5)?.unwrap_or_default();
    Ok(Kept {
        number: row.natural(0)?,
        organisation_id: row.parsed(1)?,
        received_at: row.time(2)?,
        repeats: row.maybe_parsed(3)?,
        handled: handled_at.map(|at| Handled { at, outcome }),
        event: Event {
            id: row.parsed(6)?,
            source: row.text(7)?,
            delivery: row.text(8)?,
            kind: row.text(9)?,
            subject: row.maybe_text(10)?,
            time: row.time(11)?,
            project_id: row.maybe_parsed(12)?,
            actor: row.maybe_json::<Cause>(13)?,
            trust: trust(&row.text(14)?)?,
            ancestry: row.json(15)?,
            data: row.json(16)?,
        },
    })
}

/// A class of trust by its word.
pub(crate) fn trust(word: &str) -> Result<Trust, Error> {
    let all = [Trust::Own, Trust::Member, Trust::Known, Trust::Public];
    let found = all.into_iter().find(|trust| trust.name() == word);
    found.ok_or_else(|| Error::Database { context: format!("`{word}` is no class of trust") })
}

/// A firing of [`FIRING`].
pub(super) fn firing(mut row: Row) -> Result<FiringRow, Error> {
    Ok(FiringRow {
        number: row.natural(0)?,
        event_id: row.parsed(1)?,
        at: row.time(6)?,
        firing: Firing {
            automation: row.text(7)?,
            trigger: row.text(2)?,
            run_id: row.maybe_parsed(3)?,
            outcome: row.text(4)?,
            reason: row.text(5)?,
        },
    })
}

/// A query as it is put together.
struct Query {
    dialect: Dialect,
    sql: String,
    values: Values,
    /// Whether the rows to walk are chosen.
    chosen: bool,
}

impl Query {
    /// Demands a column to have this value. All but the first that is demanded are only looked at.
    fn demand(&mut self, column: &str, value: Value<'static>) {
        let only_look = if self.chosen { self.only_look() } else { "" };
        self.bound(&format!("{only_look}{column} ="), value);
        self.chosen = true;
    }

    fn only_look(&self) -> &'static str {
        match self.dialect {
            Dialect::Sqlite => "+",
            Dialect::Postgres => "",
        }
    }

    fn bound(&mut self, condition: &str, value: Value<'static>) {
        self.values.push(value);
        self.sql.push_str(&format!(" AND {condition} ${}", self.values.len()));
    }
}

/// The query for a page. `from` is a number before which no wanted event is. Absent if nothing can match.
pub(super) fn list(
    dialect: Dialect,
    organisation_id: &OrganisationId,
    filter: Filter,
    from: Option<u64>,
    slice: Slice,
) -> Option<(String, Values)> {
    let texts = [&filter.source, &filter.kind, &filter.subject, &filter.actor];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return None;
    }
    let organisation_id = Value::Owned(organisation_id.to_string());
    let typed = filter.search.filter(|typed| !typed.trim().is_empty());
    let order = if typed.is_some() { "events_search.rowid" } else { "number" };
    let mut sql = format!("SELECT {LISTED} FROM events");
    if typed.is_some() {
        sql.push_str(" JOIN events_search ON events_search.rowid = number");
    }
    // All indexes of values begin with the organisation, but not those of words and of what waits.
    let elsewhere = typed.is_some() || filter.handled == Some(false);
    let mut query = Query { dialect, sql, values: vec![organisation_id], chosen: elsewhere };
    let only_look = if elsewhere { query.only_look() } else { "" };
    query.sql.push_str(&format!(" WHERE {only_look}organisation_id = $1"));
    if let Some(typed) = typed {
        query.values.push(search::query(dialect, &typed)?.into());
        let matches = search::matches(dialect, "events_search", query.values.len());
        query.sql.push_str(&format!(" AND {matches}"));
    }
    match filter.handled {
        Some(false) => query.sql.push_str(" AND handled_at IS NULL"),
        Some(true) => query.sql.push_str(" AND handled_at IS NOT NULL"),
        None => {}
    }
    // From the narrowest to the widest, as events go.
    if let Some(subject) = filter.subject {
        query.demand("subject", subject.into());
    }
    if let Some(project_id) = filter.project_id {
        query.demand("project_id", project_id.to_string().into());
    }
    if let Some(actor) = filter.actor {
        query.demand("actor", actor.into());
    }
    if let Some(kind) = filter.kind {
        query.demand(if kind.contains('.') { "kind" } else { "family" }, kind.into());
    }
    if let Some(source) = filter.source {
        query.demand("source", source.into());
    }
    if let Some(trust) = filter.trust {
        query.bound("trust =", trust.name().into());
    }
    if let Some(before) = slice.before {
        query.bound(&format!("{order} <"), before.into());
    }
    if let Some(from) = from {
        query.bound(&format!("{order} >="), from.into());
    }
    if let Some(since) = filter.since {
        query.bound("received_at >=", since.into());
    }
    query.values.push(slice.limit.clamp(1, 200).into());
    let limit = query.values.len();
    query.sql.push_str(&format!(" ORDER BY {order} DESC LIMIT ${limit}"));
    Some((query.sql, query.values))
}

#[cfg(test)]
mod tests {
    use windlass_run::{ProjectId, Time};

    use super::*;

    const SCHEMA: [&str; 2] = [
        include_str!("../migrations/0002_runs.sql"),
        include_str!("../migrations/0011_events.sql"),
    ];

    /// How SQLite would answer: its own words on the plan, without the values.
    fn plan(connection: &rusqlite::Connection, filter: Filter, before: Option<u64>) -> String {
        let organisation_id = OrganisationId::new(Time::from_micros(1), 1);
        let from = filter.since.map(|_| 7);
        let slice = Slice { before, limit: 50 };
        let (sql, values) =
            list(Dialect::Sqlite, &organisation_id, filter, from, slice).expect("a query");
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("SQL");
        let unbound = (1..=values.len()).map(|_| rusqlite::types::Null);
        let unbound = rusqlite::params_from_iter(unbound);
        let rows = statement.query_map(unbound, |row| row.get::<_, String>(3)).expect("a plan");
        rows.map(|row| row.expect("a line")).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn each_filter_walks_an_index_in_the_order_of_pages_and_nothing_is_sorted() {
        let connection = rusqlite::Connection::open_in_memory().expect("a database");
        for migration in SCHEMA {
            let script = crate::dialect::types::translate(Dialect::Sqlite, migration);
            connection.execute_batch(&script).expect("migrated");
        }
        let text = |text: &str| Some(text.to_owned());
        let project_id = || Some(ProjectId::new(Time::from_micros(1), 1));
        let all = Filter::default;
        let by_index = |name: &str| format!("SEARCH events USING INDEX {name} ");
        for (filter, begins) in [
            (all(), by_index("events_of_organisation")),
            (Filter { source: text("a"), ..all() }, by_index("events_by_source")),
            (Filter { kind: text("push"), ..all() }, by_index("events_by_family")),
            (Filter { kind: text("a.b"), ..all() }, by_index("events_by_kind")),
            (Filter { subject: text("a"), ..all() }, by_index("events_by_subject")),
            (Filter { project_id: project_id(), ..all() }, by_index("events_of_project")),
            (Filter { actor: text("a"), ..all() }, by_index("events_by_actor")),
            (
                Filter { since: Some(Time::from_micros(5)), ..all() },
                by_index("events_of_organisation"),
            ),
            (Filter { handled: Some(true), ..all() }, by_index("events_of_organisation")),
            (
                Filter { handled: Some(false), ..all() },
                "SEARCH events USING INDEX events_unhandled".into(),
            ),
            (
                Filter { kind: text("a.b"), source: text("b"), subject: text("c"), ..all() },
                by_index("events_by_subject"),
            ),
            (
                Filter { kind: text("a"), source: text("b"), project_id: project_id(), ..all() },
                by_index("events_of_project"),
            ),
            (
                Filter { search: text("a"), source: text("b"), ..all() },
                "SCAN events_search VIRTUAL TABLE INDEX".to_owned(),
            ),
        ] {
            let shown = format!("{filter:?}");
            let plan = plan(&connection, filter, Some(9));
            assert!(plan.starts_with(&begins), "{shown}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{shown}: {plan}");
        }
    }
}
