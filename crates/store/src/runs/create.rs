//! Starts a run.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use windlass_run::{
    JobId, OrganisationId, RunId, Time,
    actor::By,
    job::{self, Event},
    run::Tally,
};

use crate::{
    Error,
    automations::{self, Pinned},
    dialect::search,
    runs::{NewRun, Started},
    turns::{self, Turn, WhenBusy},
    writer::{
        memory::{Job, Run},
        tx::{Tx, who},
    },
};

/// The longest title, in bytes.
const LONGEST_TITLE: usize = 500;

/// A run that was checked as far as possible without the database.
pub(crate) struct Prepared {
    run_id: RunId,
    organisation_id: OrganisationId,
    title: Arc<str>,
    words: String,
    by: Arc<By>,
    who: Arc<str>,
    jobs: Vec<(JobId, Arc<str>, Event)>,
    automation: Option<Pinned>,
    turn: Option<Turn>,
    key: Option<(String, String)>,
}

/// Checks a run.
pub(crate) fn prepare(by: By, new: NewRun) -> Result<Prepared, Error> {
    let invalid = |why: &str| Error::Invalid { why: why.to_owned() };
    if new.jobs.is_empty() || new.jobs.len() > 10_000 {
        return Err(invalid("a run has 1 to 10,000 jobs"));
    }
    check_title(&new.title)?;
    let key = match &new.idempotency_key {
        None => None,
        Some(key) if key.is_empty() || key.len() > 255 || key.contains('\0') => {
            return Err(invalid("an idempotency key has 1 to 255 bytes"));
        }
        Some(key) => Some((key.clone(), digest(&new)?)),
    };
    let mut words = new.title.clone();
    let mut jobs = Vec::with_capacity(new.jobs.len());
    for job in new.jobs {
        check_title(&job.title)?;
        if job.title != new.title && words.len() < 100_000 {
            words.push(' ');
            words.push_str(&job.title);
        }
        let spec = Arc::new(job.spec);
        let created = job::create(spec, by.clone())
            .map_err(|fault| Error::Invalid { why: fault.to_string() })?;
        jobs.push((job.id, Arc::from(job.title), created));
    }
    Ok(Prepared {
        run_id: new.id,
        organisation_id: new.organisation_id,
        title: new.title.into(),
        words,
        who: who(&by),
        by: Arc::new(by),
        jobs,
        automation: new.automation,
        turn: new.turn,
        key,
    })
}

pub(crate) fn check_title(title: &str) -> Result<(), Error> {
    if title.trim().is_empty() || title.len() > LONGEST_TITLE || title.contains('\0') {
        let why = format!("a title has 1 to {LONGEST_TITLE} bytes and no NUL character");
        return Err(Error::Invalid { why });
    }
    Ok(())
}

/// What makes a request the same request: everything but its ids.
fn digest(new: &NewRun) -> Result<String, Error> {
    let jobs: Vec<_> = new.jobs.iter().map(|job| (&job.title, &job.spec)).collect();
    let text = serde_json::to_string(&(&new.title, jobs))
        .map_err(|e| Error::Invalid { why: format!("the run can't be written as JSON: {e}") })?;
    Ok(crate::hex(&Sha256::digest(text)))
}

/// Starts it.
pub(crate) fn create(tx: &mut Tx<'_>, new: &Prepared, now: Time) -> Result<Started, Error> {
    if let Some(started) = earlier(tx, &new.organisation_id, &new.who, new.key.as_ref())? {
        return Ok(started);
    }
    if let (Some(pinned), Some(turn)) = (&new.automation, &new.turn)
        && turn.when_busy == WhenBusy::Skip
        && let Some(other) =
            turns::busy(tx, &new.organisation_id, &pinned.automation, turn)?.first()
    {
        let why = format!("{other} is at the same, and it is to be skipped then: wait for its end");
        return Err(Error::Conflict { why });
    }
    for (_, _, created) in &new.jobs {
        let Event::Created { spec, .. } = created else { continue };
        let project_id = &spec.target.project_id;
        if tx.project(project_id)?.as_ref() != Some(&new.organisation_id) {
            return Err(Error::NotFound { what: "project", id: project_id.to_string() });
        }
    }
    let run_number = tx.number();
    let run = Run {
        id: new.run_id.clone(),
        number: run_number,
        organisation_id: new.organisation_id.clone(),
        title: new.title.clone(),
        by: new.by.clone(),
        automation: new.automation.as_ref().map(|pinned| pinned.automation.as_str().into()),
        tally: Tally::of(u32::try_from(new.jobs.len()).unwrap_or(u32::MAX)),
        created_at: now,
        started_at: None,
        ended_at: None,
    };
    if tx.memory.runs.get(&run.id).is_some() {
        return Err(Error::Database { context: format!("the run {} is there already", run.id) });
    }
    tx.create_run(run, now);
    tx.memory.fleets.put(new.run_id.clone(), None);
    let insert = search::insert(tx.dialect(), "runs_search");
    let words = search::text(tx.dialect(), &new.words);
    tx.write(&insert, &[run_number.into(), words.into()])?;
    for (job_id, title, created) in &new.jobs {
        let number = tx.number();
        let job = first(new, run_number, number, (job_id, title, created), now)?;
        tx.create_job(job, created, &new.who, now)?;
    }
    if let Some(pinned) = &new.automation {
        automations::pin(tx, &new.organisation_id, (run_number, &new.run_id), pinned)?;
        if let Some(turn) = &new.turn {
            turns::take(tx, &pinned.automation, turn, &new.run_id, now)?;
        }
    }
    let subject = new.run_id.to_string();
    tx.audit(&new.who, &new.organisation_id, "run.create", subject, "{}", now);
    let job_ids: Vec<JobId> = new.jobs.iter().map(|(job_id, ..)| job_id.clone()).collect();
    let started = Started { run_id: new.run_id.clone(), job_ids, fresh: true };
    if let Some((key, request)) = &new.key {
        answer(tx, (&new.organisation_id, &new.who), (key, request), &started, now)?;
    }
    Ok(started)
}

fn first(
    new: &Prepared,
    run_number: u64,
    number: u64,
    (job_id, title, created): (&JobId, &Arc<str>, &Event),
    now: Time,
) -> Result<Job, Error> {
    let state = job::State::begin(created, now);
    let state = state.ok_or_else(|| Error::Database { context: "no first event".to_owned() })?;
    Ok(Job {
        id: job_id.clone(),
        number,
        organisation_id: new.organisation_id.clone(),
        run_id: new.run_id.clone(),
        run_number,
        project_id: state.spec.target.project_id.clone(),
        title: title.clone(),
        seq: 1,
        state,
        ended_at: None,
    })
}

/// The same request, answered before.
pub(crate) fn earlier(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    who: &Arc<str>,
    key: Option<&(String, String)>,
) -> Result<Option<Started>, Error> {
    let Some((key, request)) = key else { return Ok(None) };
    let sql = "SELECT request, body FROM answers \
               WHERE organisation_id = $1 AND actor = $2 AND name = $3";
    let values = [organisation_id.as_str().into(), (&**who).into(), key.into()];
    let mut rows = tx.read(sql, &values)?;
    let Some(row) = rows.first_mut() else { return Ok(None) };
    if row.text(0)? != *request {
        return Err(Error::Conflict {
            why: "this idempotency key was used for another request: use a fresh one".to_owned(),
        });
    }
    let started: Started = row.json(1)?;
    Ok(Some(Started { fresh: false, ..started }))
}

/// Keeps what was answered to a request with a key.
pub(crate) fn answer(
    tx: &mut Tx<'_>,
    (organisation_id, who): (&OrganisationId, &Arc<str>),
    (key, request): (&String, &String),
    started: &Started,
    now: Time,
) -> Result<(), Error> {
    let body = serde_json::to_string(started)
        .map_err(|e| Error::Database { context: format!("an answer as JSON: {e}") })?;
    tx.write(
        "INSERT INTO answers (organisation_id, actor, name, request, status, body, at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            organisation_id.as_str().into(),
            (&**who).into(),
            key.into(),
            request.into(),
            0i64.into(),
            body.into(),
            now.into(),
        ],
    )
}
