//! Runners: who is there.

use std::sync::Arc;

use windlass_run::{OrganisationId, RunnerId, Time};

use crate::{
    Error,
    work::{NewRunner, RunnerRow},
    writer::{memory::Runner, tx::Tx},
};

/// Registers a runner, or says that it is back.
pub(super) fn register(
    tx: &mut Tx<'_>,
    who: &Arc<str>,
    runner: &NewRunner,
    now: Time,
) -> Result<(), Error> {
    let known = tx.memory.runners.get(&runner.id);
    let fresh = known.is_none();
    if known.is_some_and(|known| known.organisation_id != runner.organisation_id) {
        let why = format!("the runner {} belongs to another organisation", runner.id);
        return Err(Error::Conflict { why });
    }
    tx.write(
        "INSERT INTO runners (id, organisation_id, name, version, capacity, registered_at, seen_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
         version = excluded.version, capacity = excluded.capacity, seen_at = excluded.seen_at",
        &[
            runner.id.as_str().into(),
            runner.organisation_id.as_str().into(),
            (&runner.name).into(),
            (&runner.version).into(),
            runner.capacity.into(),
            now.into(),
            now.into(),
        ],
    )?;
    let id = runner.id.to_string();
    tx.tell(&runner.organisation_id, "runner", id.clone(), "registered", now);
    if fresh {
        let detail = serde_json::json!({ "name": runner.name }).to_string();
        tx.audit(who, &runner.organisation_id, "runner.register", id, detail, now);
    }
    // Known from now on even if the group is given up: then the command runs again or its caller
    // registers again, and until then the entry allows nothing that matters.
    let entry = Runner { organisation_id: runner.organisation_id.clone(), seen_at: now };
    tx.memory.runners.insert(runner.id.clone(), entry);
    Ok(())
}

/// Runners that were heard of at or after `since`.
pub(super) fn list(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    since: Time,
) -> Result<Vec<RunnerRow>, Error> {
    let seen: Vec<(RunnerId, Time)> = tx
        .memory
        .runners
        .iter()
        .filter(|(_, known)| known.organisation_id == *organisation_id && known.seen_at >= since)
        .map(|(runner_id, known)| (runner_id.clone(), known.seen_at))
        .collect();
    let mut rows = Vec::with_capacity(seen.len());
    for (runner_id, seen_at) in seen {
        let sql = "SELECT name, version, capacity, registered_at FROM runners WHERE id = $1";
        let mut found = tx.read(sql, &[runner_id.as_str().into()])?;
        let Some(row) = found.first_mut() else { continue };
        let runner = NewRunner {
            id: runner_id.clone(),
            organisation_id: organisation_id.clone(),
            name: row.text(0)?,
            version: row.text(1)?,
            capacity: row.small(2)?,
        };
        let (registered_at, jobs) = (row.time(3)?, Vec::new());
        rows.push(RunnerRow { runner, registered_at, seen_at, jobs });
    }
    let held = "SELECT id, runner_id FROM jobs WHERE organisation_id = $1 \
                AND standing = 'running' \
                AND ended_at IS NULL ORDER BY number";
    for mut row in tx.read_all(held, &[organisation_id.as_str().into()])? {
        let (job_id, holder) = (row.parsed(0)?, row.maybe_parsed::<RunnerId>(1)?);
        if let Some(row) = rows.iter_mut().find(|row| Some(&row.runner.id) == holder.as_ref()) {
            row.jobs.push(job_id);
        }
    }
    rows.sort_by(|a, b| a.runner.id.cmp(&b.runner.id));
    Ok(rows)
}

/// A runner was heard of.
pub(super) fn heard(tx: &mut Tx<'_>, runner_id: &RunnerId, now: Time) {
    if let Some(known) = tx.memory.runners.get_mut(runner_id) {
        known.seen_at = known.seen_at.max(now);
    }
}
