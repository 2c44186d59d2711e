//! Turns: runs of an automation that must not be at the same thing go one after another. A run takes a turn
//! for each thing in the transaction that creates it, and gives them back in the one that handles its end.
//! It goes on once nothing that it is at is anybody's who came before, so no two wait for each other.

use std::{collections::BTreeSet, sync::Arc};

use windlass_run::{JobId, OrganisationId, RunId, Time, actor::By, job::Command};

pub use windlass_run::automation::WhenBusy;

use crate::{
    Error,
    runs::cancel::{self, Cancel},
    writer::tx::{Tx, who},
};

/// What a run is at, and what is to be done if another one is at that too.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Turn {
    /// What it is at, in its automation's own words.
    pub things: BTreeSet<String>,
    /// What becomes of whom.
    pub when_busy: WhenBusy,
}

/// The runs that are at one of these things, or wait for it, the first first.
pub(crate) fn busy(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    automation: &str,
    turn: &Turn,
) -> Result<Vec<RunId>, Error> {
    let mut found = BTreeSet::new();
    for thing in &turn.things {
        let sql = "SELECT number, run_id FROM turns WHERE organisation_id = $1 \
                   AND automation = $2 AND thing = $3";
        let key = [organisation_id.as_str().into(), automation.into(), thing.into()];
        for mut row in tx.read(sql, &key)? {
            found.insert((row.natural(0)?, row.parsed(1)?));
        }
    }
    Ok(found.into_iter().map(|(_, run_id)| run_id).collect())
}

/// Takes the turns of a run that was just created. It is held if others come first.
pub(crate) fn take(
    tx: &mut Tx<'_>,
    automation: &str,
    turn: &Turn,
    run_id: &RunId,
    now: Time,
) -> Result<(), Error> {
    let run = tx.run(run_id)?;
    let before = busy(tx, &run.organisation_id, automation, turn)?;
    let held = !before.is_empty();
    for thing in &turn.things {
        tx.write(
            "INSERT INTO turns (organisation_id, automation, thing, number, run_id, held) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                run.organisation_id.as_str().into(),
                automation.into(),
                thing.into(),
                run.number.into(),
                run_id.as_str().into(),
                i64::from(held).into(),
            ],
        )?;
    }
    if held {
        each_job(tx, run.number, &Command::Hold, &who(&run.by), now)?;
    }
    if turn.when_busy == WhenBusy::Cancel {
        let reason = format!("A newer run of {automation} is at the same.");
        let cancel = Cancel::new(By::system("turns"), reason, now);
        for other in &before {
            if tx.run(other)?.tally.outcome().is_none() {
                cancel::run(tx, &cancel, &run.organisation_id, other)?;
            }
        }
    }
    Ok(())
}

/// Gives back the turns of a run that has ended; who comes next goes on.
pub(crate) fn give_back(tx: &mut Tx<'_>, run_id: &RunId, now: Time) -> Result<(), Error> {
    let sql = "SELECT organisation_id, automation, thing FROM turns WHERE run_id = $1";
    let mut things: Vec<(String, String, String)> = Vec::new();
    for mut row in tx.read(sql, &[run_id.as_str().into()])? {
        things.push((row.text(0)?, row.text(1)?, row.text(2)?));
    }
    if things.is_empty() {
        return Ok(());
    }
    tx.write("DELETE FROM turns WHERE run_id = $1", &[run_id.as_str().into()])?;
    for (organisation_id, automation, thing) in &things {
        let sql = "SELECT run_id, held FROM turns WHERE organisation_id = $1 AND automation = $2 \
                   AND thing = $3 ORDER BY number LIMIT 1";
        let key = [organisation_id.into(), automation.into(), thing.into()];
        let mut rows = tx.read(sql, &key)?;
        let Some(row) = rows.first_mut() else { continue };
        let next: RunId = row.parsed(0)?;
        if row.int(1)? == 1 && is_first_everywhere(tx, &next)? {
            go_on(tx, &next, run_id, now)?;
        }
    }
    Ok(())
}

/// Whether nobody who came before is at anything that a run is at.
fn is_first_everywhere(tx: &mut Tx<'_>, run_id: &RunId) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM turns mine JOIN turns other \
               ON other.organisation_id = mine.organisation_id \
               AND other.automation = mine.automation AND other.thing = mine.thing \
               AND other.number < mine.number WHERE mine.run_id = $1 LIMIT 1";
    Ok(tx.read(sql, &[run_id.as_str().into()])?.is_empty())
}

fn go_on(tx: &mut Tx<'_>, run_id: &RunId, after: &RunId, now: Time) -> Result<(), Error> {
    tx.write("UPDATE turns SET held = 0 WHERE run_id = $1", &[run_id.as_str().into()])?;
    let number = tx.run(run_id)?.number;
    let reason = format!("It is its turn: {after} has ended.");
    each_job(tx, number, &Command::GoOn { reason }, &who(&By::system("turns")), now)
}

/// Tells each job of a run that has not ended.
fn each_job(
    tx: &mut Tx<'_>,
    run_number: u64,
    command: &Command,
    by: &Arc<str>,
    now: Time,
) -> Result<(), Error> {
    let sql = "SELECT id FROM jobs WHERE run_number = $1 AND ended_at IS NULL ORDER BY number";
    for mut row in tx.read_all(sql, &[run_number.into()])? {
        let job_id: JobId = row.parsed(0)?;
        if let Some(job) = tx.job(&job_id)? {
            tx.decide(&job, command, by, now)??;
        }
    }
    Ok(())
}
