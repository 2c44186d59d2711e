//! The rows of environments: read, written, listed and counted.

use std::sync::Arc;

use windlass_run::{
    EnvironmentId, Labels, OrganisationId, RunnerId, Time,
    environment::{Event, Phase, watch_at},
};

use super::{Entry, EnvironmentRow, Wanted};
use crate::{
    Error, Store,
    database::{Row, Value},
    writer::tx::Tx,
};

const COLUMNS: &str = "id, number, organisation_id, owner, seq, state, report, changed_at";
/// How many environments one look of the watch takes on.
const AT_ONCE: u64 = 200;

impl Store {
    /// One environment.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn environment(
        &self,
        organisation_id: &OrganisationId,
        id: &EnvironmentId,
    ) -> Result<EnvironmentRow, Error> {
        let sql =
            format!("SELECT {COLUMNS} FROM environments WHERE id = $1 AND organisation_id = $2");
        let values = vec![id.to_string().into(), organisation_id.to_string().into()];
        let row = self.query(&sql, values).await?.into_iter().next();
        environment(row.ok_or_else(|| not_found(id.as_str()))?)
    }

    /// One environment that is there, by its name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn environment_named(
        &self,
        organisation_id: &OrganisationId,
        name: &str,
    ) -> Result<EnvironmentRow, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM environments WHERE organisation_id = $1 AND name = $2 \
             AND is_there = 1"
        );
        let values = vec![organisation_id.to_string().into(), name.to_owned().into()];
        let row = self.query(&sql, values).await?.into_iter().next();
        environment(row.ok_or_else(|| not_found(name))?)
    }

    /// Environments, the newest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn environments(
        &self,
        organisation_id: &OrganisationId,
        wanted: Wanted,
        limit: u32,
    ) -> Result<Vec<EnvironmentRow>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM environments WHERE organisation_id = $1 AND number < $2 \
             AND ($3 = '' OR owner = $3) AND ($4 = '' OR project_id = $4) \
             AND ($5 = '' OR phase = $5) \
             AND ($6 = 1 OR phase NOT IN ('archived', 'deleting', 'deleted')) \
             ORDER BY number DESC LIMIT $7"
        );
        let all = wanted.all || wanted.phase.is_some();
        let values = vec![
            organisation_id.to_string().into(),
            wanted.before.unwrap_or(i64::MAX as u64).into(),
            wanted.owner.unwrap_or_default().into(),
            wanted.project_id.map(|id| id.to_string()).unwrap_or_default().into(),
            wanted.phase.unwrap_or_default().into(),
            all.into(),
            limit.clamp(1, 1_000).into(),
        ];
        self.query(&sql, values).await?.into_iter().map(environment).collect()
    }

    /// The runners on which something is under way.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn environment_runners(
        &self,
        organisation_id: &OrganisationId,
    ) -> Result<Vec<RunnerId>, Error> {
        let sql = "SELECT DISTINCT runner_id FROM environments WHERE organisation_id = $1 \
                   AND is_there = 1 AND phase IN ('starting', 'running', 'stopping') \
                   AND runner_id IS NOT NULL";
        let rows = self.query(sql, vec![organisation_id.to_string().into()]).await?;
        rows.into_iter().map(|mut row| row.parsed(0)).collect()
    }

    /// What a runner calls itself; absent if it never registered.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn runner_name(
        &self,
        organisation_id: &OrganisationId,
        runner_id: &RunnerId,
    ) -> Result<Option<String>, Error> {
        let sql = "SELECT name FROM runners WHERE id = $1 AND organisation_id = $2";
        let values = vec![runner_id.to_string().into(), organisation_id.to_string().into()];
        let mut rows = self.query(sql, values).await?;
        rows.first_mut().map(|row| row.text(0)).transpose()
    }

    /// What happened to an environment, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn environment_journal(
        &self,
        organisation_id: &OrganisationId,
        id: &EnvironmentId,
    ) -> Result<Vec<Entry>, Error> {
        let sql = "SELECT seq, at, who, events FROM environment_events WHERE environment_id = $1 \
                   AND organisation_id = $2 ORDER BY seq";
        let values = vec![id.to_string().into(), organisation_id.to_string().into()];
        let entry = |mut row: Row| {
            Ok(Entry {
                seq: row.natural(0)?,
                at: row.time(1)?,
                by: row.json(2)?,
                events: row.json(3)?,
            })
        };
        self.query(sql, values).await?.into_iter().map(entry).collect()
    }
}

fn environment(mut row: Row) -> Result<EnvironmentRow, Error> {
    Ok(EnvironmentRow {
        id: row.parsed(0)?,
        number: row.natural(1)?,
        organisation_id: row.parsed(2)?,
        owner: row.text(3)?,
        seq: row.natural(4)?,
        state: row.json(5)?,
        report: row.json(6)?,
        changed_at: row.time(7)?,
    })
}

fn not_found(id: &str) -> Error {
    Error::NotFound { what: "environment", id: id.to_owned() }
}

/// One environment of whichever organisation.
pub(super) fn find(tx: &mut Tx<'_>, id: &EnvironmentId) -> Result<Option<EnvironmentRow>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM environments WHERE id = $1");
    tx.read(&sql, &[id.as_str().into()])?.into_iter().next().map(environment).transpose()
}

/// One environment of this organisation.
pub(super) fn own(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    id: &EnvironmentId,
) -> Result<EnvironmentRow, Error> {
    let found = find(tx, id)?.filter(|row| row.organisation_id == *organisation_id);
    found.ok_or_else(|| not_found(id.as_str()))
}

/// What a runner keeps, in the order of creation.
pub(super) fn of_runner(
    tx: &mut Tx<'_>,
    runner_id: &RunnerId,
) -> Result<Vec<EnvironmentRow>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM environments WHERE runner_id = $1 AND is_there = 1 ORDER BY number"
    );
    tx.read(&sql, &[runner_id.as_str().into()])?.into_iter().map(environment).collect()
}

/// What waits for a runner with these labels, in the order of creation. What waits for another stands in
/// nobody's way.
pub(super) fn waiting(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    labels: &Labels,
) -> Result<Vec<EnvironmentRow>, Error> {
    let sql = "SELECT DISTINCT runs_on FROM environments WHERE organisation_id = $1 \
               AND phase = 'creating'";
    let needed = tx.read(sql, &[organisation_id.as_str().into()])?;
    let needed = needed.into_iter().map(|mut row| row.parsed::<Labels>(0));
    let needed = needed.collect::<Result<Vec<_>, _>>()?;
    let sql = format!(
        "SELECT {COLUMNS} FROM environments WHERE organisation_id = $1 AND runs_on = $2 \
         AND phase = 'creating' ORDER BY number LIMIT $3"
    );
    let mut waiting: Vec<EnvironmentRow> = Vec::new();
    for needs in needed.iter().filter(|needs| needs.are_all_in(labels)) {
        let needs = needs.to_string();
        let values = [organisation_id.as_str().into(), needs.as_str().into(), AT_ONCE.into()];
        for row in tx.read(&sql, &values)? {
            waiting.push(environment(row)?);
        }
    }
    waiting.sort_by_key(|row| row.number);
    Ok(waiting)
}

/// What the watch must look at.
pub(super) async fn due(store: &Store, now: Time) -> Result<Vec<String>, Error> {
    let sql = "SELECT id FROM environments WHERE watch_at <= $1 LIMIT 1";
    store.query(sql, vec![now.into()]).await?.into_iter().map(|mut row| row.text(0)).collect()
}

/// The same, with rows.
pub(super) fn due_now(tx: &mut Tx<'_>, now: Time) -> Result<Vec<EnvironmentRow>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM environments WHERE watch_at <= $1 ORDER BY watch_at LIMIT $2"
    );
    tx.read(&sql, &[now.into(), AT_ONCE.into()])?.into_iter().map(environment).collect()
}

/// Whether one that is there has this name.
pub(super) fn name_is_taken(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    name: &str,
) -> Result<bool, Error> {
    let sql = "SELECT id FROM environments WHERE organisation_id = $1 AND name = $2 \
               AND is_there = 1";
    Ok(!tx.read(sql, &[organisation_id.as_str().into(), name.into()])?.is_empty())
}

/// How many that are there have this value in this column.
pub(super) fn count(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    column: &'static str,
    value: &str,
) -> Result<u64, Error> {
    let sql = format!(
        "SELECT COUNT(*) FROM environments WHERE organisation_id = $1 AND {column} = $2 \
         AND is_there = 1"
    );
    let mut rows = tx.read(&sql, &[organisation_id.as_str().into(), value.into()])?;
    rows.first_mut().map_or(Ok(0), |row| row.natural(0))
}

/// How many of this owner run or shall run.
pub(super) fn count_live(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    owner: &str,
) -> Result<u64, Error> {
    let sql = "SELECT COUNT(*) FROM environments WHERE organisation_id = $1 AND owner = $2 \
               AND is_live = 1 AND is_there = 1";
    let mut rows = tx.read(sql, &[organisation_id.as_str().into(), owner.into()])?;
    rows.first_mut().map_or(Ok(0), |row| row.natural(0))
}

/// Writes a new row.
pub(super) fn insert(tx: &mut Tx<'_>, row: &EnvironmentRow) -> Result<(), Error> {
    let (state, report) = texts(row)?;
    let spec = &row.state.spec;
    tx.write(
        "INSERT INTO environments (id, number, organisation_id, project_id, name, owner, phase, \
         is_live, is_there, runner_id, seq, state, report, watch_at, created_at, changed_at, runs_on) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        &[
            row.id.as_str().into(),
            row.number.into(),
            row.organisation_id.as_str().into(),
            spec.project_id.as_str().into(),
            (&spec.name).into(),
            (&row.owner).into(),
            row.state.phase.name().into(),
            row.state.is_live().into(),
            is_there(row).into(),
            row.state.runner_id.as_ref().map(RunnerId::as_str).into(),
            row.seq.into(),
            state.into(),
            report.into(),
            watch_at(&row.state).into(),
            row.state.created_at.into(),
            row.changed_at.into(),
            spec.runs_on.to_string().into(),
        ],
    )
}

/// Writes what changed.
pub(super) fn update(tx: &mut Tx<'_>, row: &EnvironmentRow) -> Result<(), Error> {
    let (state, report) = texts(row)?;
    tx.write(
        "UPDATE environments SET phase = $1, is_live = $2, is_there = $3, runner_id = $4, \
         seq = $5, state = $6, report = $7, watch_at = $8, changed_at = $9 WHERE id = $10",
        &[
            row.state.phase.name().into(),
            row.state.is_live().into(),
            is_there(row).into(),
            row.state.runner_id.as_ref().map(RunnerId::as_str).into(),
            row.seq.into(),
            state.into(),
            report.into(),
            watch_at(&row.state).into(),
            row.changed_at.into(),
            row.id.as_str().into(),
        ],
    )
}

/// Writes events to the journal.
pub(super) fn journal(
    tx: &mut Tx<'_>,
    row: &EnvironmentRow,
    events: &[Event],
    who: &Arc<str>,
    now: Time,
) -> Result<(), Error> {
    let events = text(&events)?;
    tx.write(
        "INSERT INTO environment_events (environment_id, seq, organisation_id, at, who, events) \
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            row.id.as_str().into(),
            row.seq.into(),
            row.organisation_id.as_str().into(),
            now.into(),
            Value::from(&**who),
            events.into(),
        ],
    )
}

fn is_there(row: &EnvironmentRow) -> bool {
    row.state.phase != Phase::Deleted
}

fn texts(row: &EnvironmentRow) -> Result<(String, String), Error> {
    Ok((text(&row.state)?, text(&row.report)?))
}

fn text(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Invalid { why: error.to_string() })
}
