//! Runners: who is there, and what is wanted of them.

use std::sync::Arc;

use windlass_run::{OrganisationId, RunnerId, Time};

use crate::{
    Error,
    work::{NewRunner, Registration, RunnerRow, Wish},
    writer::{memory::Runner, tx::Tx},
};

/// Registers a runner, or says that it is back.
pub(super) fn register(
    tx: &mut Tx<'_>,
    who: &Arc<str>,
    registration: &Registration,
    now: Time,
) -> Result<RunnerId, Error> {
    let mut runner = registration.runner.clone();
    if let Some(token_id) = &registration.token_id {
        let sql = "SELECT runner_id FROM service_tokens WHERE id = $1";
        let mut rows = tx.read_all(sql, &[token_id.as_str().into()])?;
        let bound = rows.first_mut().map(|row| row.maybe_parsed::<RunnerId>(0)).transpose()?;
        match bound.flatten() {
            Some(owner) if owner != runner.id => {
                if let Some(at_work) = tx.memory.runners.get(&owner)
                    && at_work.seen_at >= registration.alive_since
                {
                    let why = format!(
                        "the token belongs to the runner {owner}, which is at work: each runner \
                         needs a token of its own"
                    );
                    return Err(Error::Conflict { why });
                }
                runner.id = owner;
            }
            Some(_) => {}
            None => bind(tx, token_id.as_str(), &runner.id, now)?,
        }
    }
    put(tx, who, &runner, now)?;
    Ok(runner.id)
}

/// From now on the token is this runner's, and no earlier one is.
fn bind(tx: &mut Tx<'_>, token_id: &str, runner_id: &RunnerId, now: Time) -> Result<(), Error> {
    tx.write(
        "UPDATE service_tokens SET revoked_at = $1 WHERE runner_id = $2 AND revoked_at IS NULL",
        &[now.into(), runner_id.as_str().into()],
    )?;
    tx.write(
        "UPDATE service_tokens SET runner_id = $1 WHERE id = $2",
        &[runner_id.as_str().into(), token_id.into()],
    )?;
    Ok(())
}

/// Keeps a runner's row. One that was told to restart has done so.
pub(super) fn put(
    tx: &mut Tx<'_>,
    who: &Arc<str>,
    runner: &NewRunner,
    now: Time,
) -> Result<(), Error> {
    let sql = "SELECT organisation_id, wish, removed_at FROM runners WHERE id = $1";
    let mut rows = tx.read_all(sql, &[runner.id.as_str().into()])?;
    let fresh = rows.is_empty();
    let mut wish = Wish::Work;
    if let Some(row) = rows.first_mut() {
        if row.parsed::<OrganisationId>(0)? != runner.organisation_id {
            let why = format!("the runner {} belongs to another organisation", runner.id);
            return Err(Error::Conflict { why });
        }
        if row.parsed::<Wish>(1)? == Wish::Drain {
            wish = Wish::Drain;
        }
        if row.maybe_time(2)?.is_some() {
            return Err(Error::NotFound { what: "runner", id: runner.id.to_string() });
        }
    }
    tx.write(
        "INSERT INTO runners (id, organisation_id, name, version, capacity, environments, labels, \
         wish, registered_at, seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, \
         capacity = excluded.capacity, environments = excluded.environments, \
         labels = excluded.labels, wish = excluded.wish, seen_at = excluded.seen_at",
        &[
            runner.id.as_str().into(),
            runner.organisation_id.as_str().into(),
            (&runner.name).into(),
            (&runner.version).into(),
            runner.capacity.into(),
            runner.environments.into(),
            runner.labels.to_string().into(),
            wish.as_str().into(),
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
    let entry = Runner {
        organisation_id: runner.organisation_id.clone(),
        labels: runner.labels.clone(),
        wish,
        seen_at: now,
    };
    tx.memory.runners.insert(runner.id.clone(), entry);
    Ok(())
}

/// A runner of this organisation.
pub(super) fn known<'a>(
    tx: &'a Tx<'_>,
    organisation_id: &OrganisationId,
    runner_id: &RunnerId,
) -> Result<&'a Runner, Error> {
    let known = tx.memory.runners.get(runner_id);
    let known = known.filter(|known| known.organisation_id == *organisation_id);
    known.ok_or_else(|| Error::NotFound { what: "runner", id: runner_id.to_string() })
}

/// What is wanted of a runner by its row: memory may be ahead of a group that was given up.
fn kept_wish(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    runner_id: &RunnerId,
) -> Result<Wish, Error> {
    let sql = "SELECT wish FROM runners WHERE id = $1 AND organisation_id = $2 \
               AND removed_at IS NULL";
    let values = [runner_id.as_str().into(), organisation_id.as_str().into()];
    let row = tx.read_all(sql, &values)?.into_iter().next();
    row.ok_or_else(|| Error::NotFound { what: "runner", id: runner_id.to_string() })?.parsed(0)
}

/// Says what is wanted of a runner.
pub(super) fn wish(
    tx: &mut Tx<'_>,
    who: &Arc<str>,
    organisation_id: &OrganisationId,
    runner_id: &RunnerId,
    wish: Wish,
    now: Time,
) -> Result<(), Error> {
    if kept_wish(tx, organisation_id, runner_id)? == wish {
        return Ok(());
    }
    tx.write(
        "UPDATE runners SET wish = $1 WHERE id = $2",
        &[wish.as_str().into(), runner_id.as_str().into()],
    )?;
    if let Some(known) = tx.memory.runners.get_mut(runner_id) {
        known.wish = wish;
    }
    // Whoever waits for jobs hears of it.
    tx.memory.marks.queue += 1;
    tx.tell(organisation_id, "runner", runner_id.to_string(), wish.as_str(), now);
    let detail = serde_json::json!({ "wish": wish.as_str() }).to_string();
    tx.audit(who, organisation_id, "runner.wish", runner_id.as_str(), detail, now);
    Ok(())
}

/// Removes a runner.
pub(super) fn remove(
    tx: &mut Tx<'_>,
    who: &Arc<str>,
    organisation_id: &OrganisationId,
    runner_id: &RunnerId,
    force: bool,
    now: Time,
) -> Result<(), Error> {
    kept_wish(tx, organisation_id, runner_id)?;
    let (jobs, kept) = (n_jobs(tx, runner_id)?, n_kept(tx, runner_id)?);
    if !force && jobs + kept > 0 {
        let why = format!(
            "it holds {jobs} jobs and keeps {kept} environments: drain it, delete the \
             environments, or force it (their work trees are then out of reach)"
        );
        return Err(Error::Conflict { why });
    }
    tx.write(
        "UPDATE runners SET removed_at = $1 WHERE id = $2",
        &[now.into(), runner_id.as_str().into()],
    )?;
    tx.write(
        "UPDATE service_tokens SET revoked_at = $1 WHERE runner_id = $2 AND revoked_at IS NULL",
        &[now.into(), runner_id.as_str().into()],
    )?;
    tx.memory.runners.remove(runner_id);
    tx.tell(organisation_id, "runner", runner_id.to_string(), "removed", now);
    let detail = serde_json::json!({ "jobs": jobs, "environments": kept }).to_string();
    tx.audit(who, organisation_id, "runner.remove", runner_id.as_str(), detail, now);
    Ok(())
}

fn n_jobs(tx: &mut Tx<'_>, runner_id: &RunnerId) -> Result<u64, Error> {
    let sql = "SELECT COUNT(*) FROM jobs WHERE runner_id = $1 AND ended_at IS NULL";
    let mut rows = tx.read_all(sql, &[runner_id.as_str().into()])?;
    rows.first_mut().map_or(Ok(0), |row| row.natural(0))
}

fn n_kept(tx: &mut Tx<'_>, runner_id: &RunnerId) -> Result<u64, Error> {
    let sql = "SELECT COUNT(*) FROM environments WHERE runner_id = $1 AND is_there = 1";
    let mut rows = tx.read_all(sql, &[runner_id.as_str().into()])?;
    rows.first_mut().map_or(Ok(0), |row| row.natural(0))
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
        let sql = "SELECT name, version, capacity, environments, labels, wish, registered_at \
                   FROM runners WHERE id = $1";
        let mut found = tx.read(sql, &[runner_id.as_str().into()])?;
        let Some(row) = found.first_mut() else { continue };
        let runner = NewRunner {
            id: runner_id.clone(),
            organisation_id: organisation_id.clone(),
            name: row.text(0)?,
            version: row.text(1)?,
            capacity: row.small(2)?,
            environments: row.small(3)?,
            labels: row.parsed(4)?,
        };
        let (wish, registered_at) = (row.parsed(5)?, row.time(6)?);
        let (jobs, kept) = (Vec::new(), n_kept(tx, &runner_id)?);
        rows.push(RunnerRow { runner, registered_at, seen_at, wish, jobs, kept });
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
