//! Starts a fleet: the run, the machine and a row for each target, in one batch.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use windlass_run::{
    Time,
    actor::By,
    fleet::{self, Event, State},
};

use crate::{
    Error, automations,
    database::{Insert, Value},
    dialect::search,
    fleets::{MOST_TARGETS, NewFleet, machine::json, rows},
    runs::{self, Started},
    writer::{
        memory::{Fleet, Run},
        tx::{Tx, who},
    },
};

const TARGETS: Insert = Insert {
    head: "INSERT INTO targets (run_number, ordinal, organisation_id, project_id, repository, forge, \
           owner, base, labels, state, attempt, verified) VALUES",
    columns: 12,
    tail: "",
};

/// A fleet that was checked as far as possible without the database.
pub(crate) struct Prepared {
    new: NewFleet,
    opened: Event,
    who: Arc<str>,
    by: Arc<By>,
    words: String,
    digest: String,
}

/// Checks a fleet, and puts its targets in the order of their rings.
pub(crate) fn prepare(by: By, mut new: NewFleet) -> Result<Prepared, Error> {
    let invalid = |why: String| Error::Invalid { why };
    if new.targets.is_empty() || new.targets.len() > MOST_TARGETS {
        return Err(invalid(format!("a fleet has 1 to {MOST_TARGETS} targets")));
    }
    runs::check_title(&new.title)?;
    new.plan.check().map_err(|fault| invalid(fault.to_string()))?;
    let digest = digest(&new)?;
    let labels = new.targets.iter().map(|target| target.labels.iter().map(String::as_str));
    let rings = new.plan.allot(labels);
    let mut counts = vec![0_u32; new.plan.rollout.rings.len()];
    for ring in &rings {
        counts[usize::from(*ring)] += 1;
    }
    let mut placed: Vec<_> = rings.into_iter().zip(std::mem::take(&mut new.targets)).collect();
    placed.sort_by_key(|(ring, _)| *ring);
    new.targets = placed.into_iter().map(|(_, target)| target).collect();
    let opened = fleet::create(new.plan.clone(), counts, by.clone())
        .map_err(|fault| invalid(fault.to_string()))?;
    let mut words = new.title.clone();
    for target in &new.targets {
        if words.len() < 100_000 {
            words.push(' ');
            words.push_str(&target.repository);
        }
    }
    Ok(Prepared { who: who(&by), by: Arc::new(by), new, opened, words, digest })
}

/// What makes a request the same request: everything but its id and what is made of that.
fn digest(new: &NewFleet) -> Result<String, Error> {
    let text = json(&(&new.title, &new.plan, &new.selected, &new.targets))?;
    Ok(crate::hex(&Sha256::digest(text)))
}

/// Starts it.
pub(crate) fn create(tx: &mut Tx<'_>, prepared: &Prepared, now: Time) -> Result<Started, Error> {
    let new = &prepared.new;
    let key = new.idempotency_key.as_ref().map(|key| (key.clone(), prepared.digest.clone()));
    let who = &prepared.who;
    if let Some(started) = runs::earlier(tx, &new.organisation_id, who, key.as_ref())? {
        return Ok(started);
    }
    if let Some(known) = tx.fleet(&new.id)? {
        // The same command, come twice; or somebody else's id.
        return match known.organisation_id == new.organisation_id {
            true => Ok(Started { run_id: new.id.clone(), job_ids: Vec::new(), fresh: false }),
            false => Err(Error::Conflict { why: format!("the id {} is taken", new.id) }),
        };
    }
    let state = State::begin(&prepared.opened, now);
    let state = state.ok_or_else(|| Error::Database { context: "no first event".to_owned() })?;
    let number = tx.number();
    tx.create_run(
        Run {
            id: new.id.clone(),
            number,
            organisation_id: new.organisation_id.clone(),
            title: Arc::from(new.title.as_str()),
            by: prepared.by.clone(),
            automation: new.automation.as_ref().map(|pinned| pinned.automation.as_str().into()),
            tally: state.tally(),
            created_at: now,
            started_at: None,
            ended_at: None,
        },
        now,
    );
    let insert = search::insert(tx.dialect(), "runs_search");
    let words = search::text(tx.dialect(), &prepared.words);
    tx.write(&insert, &[number.into(), words.into()])?;
    if let Some(pinned) = &new.automation {
        automations::pin(tx, &new.organisation_id, (number, &new.id), pinned)?;
    }
    write_fleet(tx, prepared, number, &state, now)?;
    write_targets(tx, new, number)?;
    let fleet = Fleet {
        run_id: new.id.clone(),
        run_number: number,
        organisation_id: new.organisation_id.clone(),
        seq: 1,
        state,
    };
    tx.put_fleet(Arc::new(fleet), now);
    let detail = serde_json::json!({ "targets": new.targets.len() }).to_string();
    tx.audit(who, &new.organisation_id, "run.create", new.id.to_string(), detail, now);
    let started = Started { run_id: new.id.clone(), job_ids: Vec::new(), fresh: true };
    if let Some((key, request)) = &key {
        runs::answer(tx, (&new.organisation_id, who), (key, request), &started, now)?;
    }
    Ok(started)
}

fn write_fleet(
    tx: &mut Tx<'_>,
    prepared: &Prepared,
    number: u64,
    state: &State,
    now: Time,
) -> Result<(), Error> {
    let new = &prepared.new;
    tx.write(
        "INSERT INTO fleets (number, run_id, organisation_id, title, frozen, selected, state, live, \
         created_at, changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            number.into(),
            new.id.as_str().into(),
            new.organisation_id.as_str().into(),
            (&new.title).into(),
            (&new.frozen).into(),
            new.selected.to_string().into(),
            json(state)?.into(),
            true.into(),
            now.into(),
            now.into(),
        ],
    )?;
    tx.write(
        "INSERT INTO fleet_events (run_number, seq, at, who, event) VALUES ($1, 1, $2, $3, $4)",
        &[number.into(), now.into(), (&*prepared.who).into(), json(&prepared.opened)?.into()],
    )
}

fn write_targets(tx: &mut Tx<'_>, new: &NewFleet, number: u64) -> Result<(), Error> {
    let labels: Vec<String> = new.targets.iter().map(|target| target.labels.join(",")).collect();
    let mut values: Vec<Value<'_>> = Vec::with_capacity(new.targets.len() * TARGETS.columns);
    for (ordinal, (target, labels)) in (0_u64..).zip(new.targets.iter().zip(&labels)) {
        values.push(number.into());
        values.push(ordinal.into());
        values.push(new.organisation_id.as_str().into());
        values.push(target.project_id.as_str().into());
        values.push((&target.repository).into());
        values.push((&target.forge).into());
        values.push(target.owner.as_ref().into());
        values.push(target.base.as_ref().into());
        values.push(labels.into());
        values.push(rows::PLANNED.into());
        values.push(0_i64.into());
        values.push(0_i64.into());
    }
    tx.write_many(&TARGETS, &values)
}
