//! Rows to runs, jobs and journals; filters to SQL.

use windlass_run::{
    JobId, OrganisationId, Time,
    job::{Event, State},
    run::Tally,
};

use crate::{
    Error,
    database::{Row, readers::Values},
    dialect::{Dialect, search},
    runs::{Counts, Filter, JobRow, JournalEntry, RunRow, Slice, Standing, StepTimes},
};

/// The columns that [`run`] reads.
pub(crate) const RUN_COLUMNS: &str = "id, number, organisation_id, title, who, standing, jobs, \
    begun, succeeded, gave_up, failed, cancelled, skipped, created_at, started_at, ended_at";

/// The columns that [`job`] reads.
pub(crate) const JOB_COLUMNS: &str = "id, number, organisation_id, run_id, project_id, title, \
    standing, seq, runner_id, ending, pull_number, pull_url, tokens, created_at, started_at, \
    ended_at";

/// A run of [`RUN_COLUMNS`].
pub(crate) fn run(mut row: Row) -> Result<RunRow, Error> {
    Ok(RunRow {
        id: row.parsed(0)?,
        number: row.natural(1)?,
        organisation_id: row.parsed(2)?,
        title: row.text(3)?,
        by: row.json(4)?,
        standing: row.parsed(5)?,
        tally: Tally {
            jobs: row.small(6)?,
            begun: row.small(7)?,
            succeeded: row.small(8)?,
            gave_up: row.small(9)?,
            failed: row.small(10)?,
            cancelled: row.small(11)?,
            skipped: row.small(12)?,
        },
        created_at: row.time(13)?,
        started_at: row.maybe_time(14)?,
        ended_at: row.maybe_time(15)?,
    })
}

/// A job of [`JOB_COLUMNS`].
pub(crate) fn job(mut row: Row) -> Result<JobRow, Error> {
    let pull_number = row.maybe_int(10)?.and_then(|number| u64::try_from(number).ok());
    Ok(JobRow {
        id: row.parsed(0)?,
        number: row.natural(1)?,
        organisation_id: row.parsed(2)?,
        run_id: row.parsed(3)?,
        project_id: row.parsed(4)?,
        title: row.text(5)?,
        standing: row.parsed(6)?,
        seq: row.natural(7)?,
        runner_id: row.maybe_parsed(8)?,
        end: row.maybe_json(9)?,
        pull_request: pull_number.zip(row.maybe_text(11)?),
        tokens: row.natural(12)?,
        created_at: row.time(13)?,
        started_at: row.maybe_time(14)?,
        ended_at: row.maybe_time(15)?,
    })
}

/// The query for a page of `runs` or `jobs`. Absent if nothing can match.
pub(super) fn list(
    dialect: Dialect,
    table: &str,
    organisation_id: &OrganisationId,
    filter: Filter,
    slice: Slice,
) -> Option<(String, Values)> {
    let (columns, join) = match table {
        "runs" => (RUN_COLUMNS, "runs.number"),
        _ => (JOB_COLUMNS, "jobs.run_number"),
    };
    let typed = filter.search.filter(|typed| !typed.trim().is_empty());
    let mut sql = format!("SELECT {columns} FROM {table}");
    if typed.is_some() {
        sql.push_str(&format!(" JOIN runs_search ON runs_search.rowid = {join}"));
    }
    sql.push_str(" WHERE organisation_id = $1");
    let mut values: Values = vec![organisation_id.to_string().into()];
    if let Some(before) = slice.before {
        values.push(before.into());
        sql.push_str(&format!(" AND number < ${}", values.len()));
    }
    if let Some(standing) = filter.standing {
        values.push(standing.as_str().into());
        sql.push_str(&format!(" AND standing = ${}", values.len()));
    }
    // The indexes of those that have ended and of those that have not are apart: say which.
    let ended = filter.standing.map(|standing| matches!(standing, Standing::Ended(_)));
    match filter.live.map(|live| !live).or(ended) {
        Some(true) => sql.push_str(" AND ended_at IS NOT NULL"),
        Some(false) => sql.push_str(" AND ended_at IS NULL"),
        None => {}
    }
    if let Some(project_id) = filter.project_id.filter(|_| table == "jobs") {
        values.push(project_id.to_string().into());
        sql.push_str(&format!(" AND project_id = ${}", values.len()));
    }
    let mut order = "number DESC";
    if let Some(typed) = typed {
        values.push(search::query(dialect, &typed)?.into());
        let matches = search::matches(dialect, "runs_search", values.len());
        sql.push_str(&format!(" AND {matches}"));
        if let Some(before) = slice.before {
            // A run has its number before its jobs have theirs, so the same bound cuts both.
            values.push(before.into());
            sql.push_str(&format!(" AND runs_search.rowid < ${}", values.len()));
        }
        order = "runs_search.rowid DESC, number DESC";
    }
    values.push(slice.limit.clamp(1, 200).into());
    sql.push_str(&format!(" ORDER BY {order} LIMIT ${}", values.len()));
    Some((sql, values))
}

/// A job's state, and when its steps began and ended, from its journal (`at`, `events`).
pub(super) fn fold(job_id: &JobId, journal: Vec<Row>) -> Result<(State, Vec<StepTimes>), Error> {
    let mut folded: Option<(State, Vec<StepTimes>)> = None;
    for mut row in journal {
        let (at, events): (Time, Vec<Event>) = (row.time(0)?, row.json(1)?);
        for event in &events {
            match &mut folded {
                Some((state, times)) => {
                    state.apply(event, at);
                    note(state, times, event, at);
                }
                None => {
                    folded = State::begin(event, at).map(|state| {
                        let times = vec![StepTimes::default(); state.steps.len()];
                        (state, times)
                    });
                }
            }
        }
    }
    folded.ok_or_else(|| Error::Database {
        context: format!("the journal of {job_id} does not begin with its creation"),
    })
}

fn note(state: &State, times: &mut Vec<StepTimes>, event: &Event, at: Time) {
    times.resize(state.steps.len(), StepTimes::default());
    let (step_id, begins) = match event {
        Event::StepStarted { step_id, .. }
        | Event::Entered { step_id, .. }
        | Event::Asked { step_id, .. } => (step_id, true),
        Event::RestBegan { step_id, .. } => match state.index_of(step_id) {
            // A container that rests between two rounds began before.
            Some(index) if state.steps[index].container.is_some() => return,
            _ => (step_id, true),
        },
        Event::StepSucceeded { step_id, .. }
        | Event::StepFailed { step_id, .. }
        | Event::StepSkipped { step_id, .. }
        | Event::StepTold { step_id, .. } => (step_id, false),
        _ => return,
    };
    let index = state.index_of(step_id);
    if let Some(times) = index.and_then(|index| times.get_mut(index)) {
        match begins {
            true => *times = StepTimes { started_at: Some(at), ended_at: None },
            false => times.ended_at = Some(at),
        }
    }
}

/// Entries after `after` from decisions (`seq` of the last event, `at`, `who`, `events`).
pub(super) fn journal(
    decisions: Vec<Row>,
    after: u64,
    limit: u32,
) -> Result<Vec<JournalEntry>, Error> {
    let mut entries = Vec::new();
    for mut row in decisions {
        let (last, at, by) = (row.natural(0)?, row.time(1)?, row.json(2)?);
        let events: Vec<Event> = row.json(3)?;
        let first = (last + 1).saturating_sub(events.len() as u64);
        let by: windlass_run::actor::By = by;
        for (seq, event) in (first..).zip(events) {
            if seq > after && entries.len() < limit as usize {
                entries.push(JournalEntry { seq, at, by: by.clone(), event });
            }
        }
    }
    Ok(entries)
}

/// Counters by name.
pub(super) fn counts(rows: Vec<Row>) -> Result<Counts, Error> {
    let mut counts = Counts::default();
    for mut row in rows {
        let (name, n) = (row.text(0)?, row.natural(1)?);
        match name.as_str() {
            "queued" => counts.queued = n,
            "running" => counts.running = n,
            "succeeded" => counts.succeeded = n,
            "gave_up" => counts.gave_up = n,
            "failed" => counts.failed = n,
            "cancelled" => counts.cancelled = n,
            "skipped" => counts.skipped = n,
            _ => {}
        }
    }
    Ok(counts)
}
