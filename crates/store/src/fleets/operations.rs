//! Something that is done to many changes, one after the other: what is to be done was written down before the
//! first, and each that is through is written before the next. So a crash repeats one at most, and whoever
//! does it looks first whether it was done.

use windlass_run::{
    OrganisationId, RunId, Time,
    actor::By,
    fleet::{Command, What},
};

use crate::{
    Error, Store,
    fleets::{FleetRow, command, machine::json},
    writer::tx::{Tx, who},
};

/// How many operations of a fleet may be under way at once.
const MOST_UNDER_WAY: usize = 4;

/// Something that is to be done to many changes.
#[derive(Clone, Debug, PartialEq)]
pub struct NewOperation {
    /// What.
    pub what: What,
    /// What goes with it: what is said, how is merged. Not looked into.
    pub detail: serde_json::Value,
    /// The targets, at least one.
    pub todo: Vec<u32>,
}

/// An operation as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationRow {
    /// Its number within the fleet.
    pub number: u32,
    /// What is done.
    pub what: What,
    /// Who asked.
    pub by: By,
    /// To how many changes.
    pub of: u32,
    /// How many are through.
    pub through: u32,
    /// With which targets it went badly, and why.
    pub failures: Vec<(u32, String)>,
    /// When it was asked for.
    pub at: Time,
    /// When the last one was through.
    pub ended_at: Option<Time>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// The operation.
    pub number: u32,
    /// What is done.
    pub what: What,
    /// Who asked.
    pub by: By,
    /// What goes with it.
    pub detail: serde_json::Value,
    /// How many are through.
    pub place: u32,
    /// The target.
    pub ordinal: u32,
}

impl Store {
    /// Writes down what is to be done to many changes. Gives its number.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if too many are under way; [`Error::Invalid`] for nothing to do.
    pub async fn begin_operation(
        &self,
        by: By,
        organisation_id: OrganisationId,
        run_id: RunId,
        new: NewOperation,
        now: Time,
    ) -> Result<u32, Error> {
        self.command(move |tx| begin(tx, &by, &organisation_id, &run_id, &new, now)).await
    }

    /// What is to be done next of the operations that are under way, the oldest one first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn next_of_operation(&self, fleet: &FleetRow) -> Result<Option<Taken>, Error> {
        let sql = "SELECT number, what, who, detail, todo, place FROM fleet_operations \
                   WHERE run_number = $1 AND ended_at IS NULL ORDER BY number LIMIT 1";
        let mut rows = self.query(sql, vec![fleet.number.into()]).await?;
        let Some(row) = rows.first_mut() else { return Ok(None) };
        let (todo, place): (Vec<u32>, u32) = (row.json(4)?, row.small(5)?);
        let Some(ordinal) = todo.get(place as usize) else { return Ok(None) };
        Ok(Some(Taken {
            number: row.small(0)?,
            what: row.json(1)?,
            by: row.json(2)?,
            detail: row.json(3)?,
            place,
            ordinal: *ordinal,
        }))
    }

    /// Writes down that one is through. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn through(
        &self,
        organisation_id: OrganisationId,
        run_id: RunId,
        taken: Taken,
        outcome: Result<(), String>,
        now: Time,
    ) -> Result<(), Error> {
        self.command(move |tx| through(tx, &organisation_id, &run_id, &taken, &outcome, now)).await
    }

    /// The operations of a fleet, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn operations(
        &self,
        fleet: &FleetRow,
        limit: u32,
    ) -> Result<Vec<OperationRow>, Error> {
        let sql = "SELECT number, what, who, todo, place, failures, at, ended_at \
                   FROM fleet_operations WHERE run_number = $1 ORDER BY number DESC LIMIT $2";
        let rows = self.query(sql, vec![fleet.number.into(), limit.into()]).await?;
        let operation = |mut row: crate::database::Row| {
            let todo: Vec<u32> = row.json(3)?;
            Ok(OperationRow {
                number: row.small(0)?,
                what: row.json(1)?,
                by: row.json(2)?,
                of: u32::try_from(todo.len()).unwrap_or(u32::MAX),
                through: row.small(4)?,
                failures: row.json(5)?,
                at: row.time(6)?,
                ended_at: row.maybe_time(7)?,
            })
        };
        rows.into_iter().map(operation).collect()
    }
}

fn begin(
    tx: &mut Tx<'_>,
    by: &By,
    organisation_id: &OrganisationId,
    run_id: &RunId,
    new: &NewOperation,
    now: Time,
) -> Result<u32, Error> {
    let fleet = command::own(tx, organisation_id, run_id)?;
    if new.todo.is_empty() {
        let why = "there is no change that this could be done to".to_owned();
        return Err(Error::Conflict { why });
    }
    let sql = "SELECT number FROM fleet_operations WHERE run_number = $1 AND ended_at IS NULL";
    if tx.read(sql, &[fleet.run_number.into()])?.len() >= MOST_UNDER_WAY {
        let why = format!("{MOST_UNDER_WAY} operations are under way: wait for one of them");
        return Err(Error::Conflict { why });
    }
    let of = u32::try_from(new.todo.len()).unwrap_or(u32::MAX);
    let operate = Command::Operate { what: new.what, of, by: by.clone() };
    let who = who(by);
    let after = command::take(tx, &fleet, &operate, &who, now)?;
    let number = after.state.n_operations;
    tx.write(
        "INSERT INTO fleet_operations (run_number, number, what, who, detail, todo, place, failures, \
         at) VALUES ($1, $2, $3, $4, $5, $6, 0, '[]', $7)",
        &[
            fleet.run_number.into(),
            number.into(),
            json(&new.what)?.into(),
            (&*who).into(),
            new.detail.to_string().into(),
            json(&new.todo)?.into(),
            now.into(),
        ],
    )?;
    let detail = serde_json::json!({ "what": new.what, "of": of, "number": number });
    tx.audit(&who, organisation_id, "fleet.operate", run_id.to_string(), detail.to_string(), now);
    Ok(number)
}

fn through(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    run_id: &RunId,
    taken: &Taken,
    outcome: &Result<(), String>,
    now: Time,
) -> Result<(), Error> {
    let fleet = command::own(tx, organisation_id, run_id)?;
    let sql = "SELECT place, todo, failures FROM fleet_operations WHERE run_number = $1 \
               AND number = $2 AND ended_at IS NULL";
    let values = [fleet.run_number.into(), taken.number.into()];
    let mut rows = tx.read(sql, &values)?;
    let Some(row) = rows.first_mut() else { return Ok(()) };
    let (place, todo): (u32, Vec<u32>) = (row.small(0)?, row.json(1)?);
    if place != taken.place {
        return Ok(());
    }
    let mut failures: Vec<(u32, String)> = row.json(2)?;
    if let Err(why) = outcome {
        failures.push((taken.ordinal, why.clone()));
    }
    let is_last = place as usize + 1 >= todo.len();
    tx.write(
        "UPDATE fleet_operations SET place = $1, failures = $2, ended_at = $3 \
         WHERE run_number = $4 AND number = $5",
        &[
            (place + 1).into(),
            json(&failures)?.into(),
            is_last.then_some(now).into(),
            fleet.run_number.into(),
            taken.number.into(),
        ],
    )?;
    let (done, failed) = (u32::from(outcome.is_ok()), u32::from(outcome.is_err()));
    let progress = Command::Progress { number: taken.number, done, failed };
    command::take(tx, &fleet, &progress, &who(&By::system("fleets")), now)?;
    Ok(())
}
