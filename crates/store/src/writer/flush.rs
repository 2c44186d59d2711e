//! Collected rows to the database, and rows back to jobs and runs.

use std::sync::Arc;

use windlass_run::{JobId, RunId, Time, actor::By, job, job::Event, run::Tally};

use crate::{
    Error,
    database::{Failure, Insert, Value},
    writer::{
        memory::{Job, Run},
        tx::Tx,
    },
};

const JOURNAL: Insert = Insert {
    head: "INSERT INTO job_events (job_id, seq, at, who, events) VALUES",
    columns: 5,
    tail: "",
};

const RUNS_NEW: Insert = Insert {
    head: "INSERT INTO runs (id, number, organisation_id, title, who, standing, jobs, begun, \
           succeeded, gave_up, failed, cancelled, skipped, created_at, started_at, ended_at) VALUES",
    columns: 16,
    tail: "",
};

const RUNS: Insert = Insert {
    head: RUNS_NEW.head,
    columns: RUNS_NEW.columns,
    tail: "ON CONFLICT (id) DO UPDATE SET standing = excluded.standing, begun = excluded.begun, \
           succeeded = excluded.succeeded, gave_up = excluded.gave_up, failed = excluded.failed, \
           cancelled = excluded.cancelled, skipped = excluded.skipped, \
           started_at = excluded.started_at, ended_at = excluded.ended_at",
};

const JOBS: Insert = Insert {
    head: "INSERT INTO jobs (id, number, organisation_id, run_id, run_number, project_id, title, \
           standing, seq, epoch, runner_id, not_before, watch_at, ending, pull_number, pull_url, \
           tokens, created_at, started_at, ended_at, runs_on) VALUES",
    columns: 21,
    tail: "ON CONFLICT (id) DO UPDATE SET standing = excluded.standing, seq = excluded.seq, \
           epoch = excluded.epoch, runner_id = excluded.runner_id, \
           not_before = excluded.not_before, watch_at = excluded.watch_at, \
           ending = excluded.ending, pull_number = excluded.pull_number, \
           pull_url = excluded.pull_url, tokens = excluded.tokens, \
           started_at = excluded.started_at, ended_at = excluded.ended_at",
};

const EFFECTS: Insert = Insert {
    head: "INSERT INTO effects (effect_key, organisation_id, project_id, run_id, job_id, place, \
           step_id, request, state, staged_at, changed_at) VALUES",
    columns: 11,
    tail: "ON CONFLICT (effect_key) DO UPDATE SET state = excluded.state, \
           changed_at = excluded.changed_at",
};

const OUTBOX: Insert = Insert {
    head: "INSERT INTO outbox (effect_key, organisation_id, job_id, due, tries) VALUES",
    columns: 5,
    tail: "ON CONFLICT (effect_key) DO NOTHING",
};

const COUNTERS: Insert = Insert {
    head: "INSERT INTO counters (organisation_id, scope, name, n) VALUES",
    columns: 4,
    tail: "ON CONFLICT (organisation_id, scope, name) DO UPDATE SET n = counters.n + excluded.n",
};

const FEED: Insert = Insert {
    head: "INSERT INTO feed (seq, organisation_id, at, subject, id, what) VALUES",
    columns: 6,
    tail: "",
};

const AUDIT: Insert = Insert {
    head: "INSERT INTO audit (seq, organisation_id, at, who, command, subject, detail) VALUES",
    columns: 7,
    tail: "",
};

impl Tx<'_> {
    /// Writes what is collected.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        if self.group.journal.is_empty()
            && self.group.jobs.is_empty()
            && self.group.runs.is_empty()
            && self.group.fleets.is_empty()
            && self.group.feed.is_empty()
            && self.group.audit.is_empty()
        {
            return Ok(());
        }
        self.begin()?;
        self.flush_runs()?;
        self.flush_fleets()?;
        self.flush_jobs()?;
        self.flush_journal()?;
        self.flush_effects()?;
        self.flush_counters()?;
        self.flush_audit()?;
        self.flush_feed()
    }

    fn flush_journal(&mut self) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.group.journal);
        let mut values = Vec::with_capacity(rows.len() * JOURNAL.columns);
        for row in &rows {
            values.push(row.job_id.as_str().into());
            values.push(row.seq.into());
            values.push(row.at.into());
            values.push(Value::Text(&row.by));
            values.push((&row.events).into());
        }
        self.connection.insert(&JOURNAL, &values)
    }

    fn flush_runs(&mut self) -> Result<(), Failure> {
        let touched = std::mem::take(&mut self.group.runs);
        let told = std::mem::take(&mut self.group.runs_told);
        let mut runs = Vec::with_capacity(touched.len());
        for (run_id, at) in &touched {
            let Some(run) = self.memory.runs.get(run_id) else { continue };
            if told.contains(run_id) {
                let (organisation_id, what) = (run.organisation_id.clone(), run.standing());
                let (id, what) = (run_id.to_string(), what.as_str().to_owned());
                self.add_to_feed(&organisation_id, "run", id, what, *at);
            }
            runs.push(run);
        }
        let new = std::mem::take(&mut self.group.runs_new);
        let (new, known): (Vec<_>, Vec<_>) = runs.iter().partition(|run| new.contains(&run.id));
        for (insert, runs) in [(&RUNS_NEW, new), (&RUNS, known)] {
            let mut values = Vec::with_capacity(runs.len() * insert.columns);
            for run in runs {
                run_values(run, &mut values);
            }
            self.connection.insert(insert, &values)?;
        }
        Ok(())
    }

    fn flush_jobs(&mut self) -> Result<(), Failure> {
        let touched = std::mem::take(&mut self.group.jobs);
        let mut jobs = Vec::with_capacity(touched.len());
        for (job_id, at) in &touched {
            let Some(job) = self.memory.jobs.get(job_id) else { continue };
            let organisation_id = job.organisation_id.clone();
            let (id, what) = (job_id.to_string(), job.standing().as_str().to_owned());
            self.add_to_feed(&organisation_id, "job", id, what, *at);
            let watch_at = self.memory.watch_at(&job);
            jobs.push((job, watch_at));
        }
        let mut values = Vec::with_capacity(jobs.len() * JOBS.columns);
        for (job, watch_at) in &jobs {
            let (runner_id, not_before, ending) = match &job.state.phase {
                job::Phase::Queued { not_before } => (None, Some(*not_before), None),
                job::Phase::Leased { runner_id, .. } => (Some(runner_id.as_str()), None, None),
                job::Phase::Ended(end) => (None, None, serde_json::to_string(end).ok()),
            };
            let pull = job.state.pull_request();
            values.push(job.id.as_str().into());
            values.push(job.number.into());
            values.push(job.organisation_id.as_str().into());
            values.push(job.run_id.as_str().into());
            values.push(job.run_number.into());
            values.push(job.project_id.as_str().into());
            values.push(Value::Text(&job.title));
            values.push(job.standing().as_str().into());
            values.push(job.seq.into());
            values.push(job.state.epoch.into());
            values.push(runner_id.into());
            values.push(not_before.into());
            values.push((*watch_at).into());
            values.push(ending.into());
            values.push(pull.map(|(number, _)| number).into());
            values.push(pull.map(|(_, url)| url).into());
            values.push(job.state.tokens.into());
            values.push(job.state.created_at.into());
            values.push(job.state.started_at.into());
            values.push(job.ended_at.into());
            values.push(job.state.spec.runs_on.to_string().into());
        }
        self.connection.insert(&JOBS, &values)
    }

    fn flush_effects(&mut self) -> Result<(), Failure> {
        let touched = std::mem::take(&mut self.group.effects);
        for (key, (job_id, at)) in &touched {
            let Some(job) = self.memory.jobs.get(job_id) else { continue };
            let found = job.state.effects.iter().enumerate().find(|(_, e)| e.key == *key);
            let Some((place, effect)) = found else { continue };
            let json = |e: serde_json::Error| Failure::Statement(format!("an effect as JSON: {e}"));
            let request = serde_json::to_string(&effect.request).map_err(json)?;
            let state = serde_json::to_string(&effect.state).map_err(json)?;
            let row: [Value<'_>; 11] = [
                key.as_str().into(),
                job.organisation_id.as_str().into(),
                job.project_id.as_str().into(),
                job.run_id.as_str().into(),
                job.id.as_str().into(),
                (place as u64).into(),
                effect.step_id.as_str().into(),
                request.into(),
                state.into(),
                (*at).into(),
                (*at).into(),
            ];
            self.connection.insert(&EFFECTS, &row)?;
        }
        for (key, (job_id, at, open)) in std::mem::take(&mut self.group.outbox) {
            if !open {
                let delete = "DELETE FROM outbox WHERE effect_key = $1";
                self.connection.write(delete, &[key.as_str().into()])?;
                continue;
            }
            let Some(job) = self.memory.jobs.get(&job_id) else { continue };
            let row: [Value<'_>; 5] = [
                key.as_str().into(),
                job.organisation_id.as_str().into(),
                job_id.as_str().into(),
                at.into(),
                0i64.into(),
            ];
            self.connection.insert(&OUTBOX, &row)?;
        }
        Ok(())
    }

    fn flush_counters(&mut self) -> Result<(), Failure> {
        let counters = std::mem::take(&mut self.group.counters);
        let mut values = Vec::with_capacity(counters.len() * COUNTERS.columns);
        for ((organisation_id, scope, name), n) in &counters {
            if *n != 0 {
                values.push(organisation_id.as_str().into());
                values.push(scope.into());
                values.push((*name).into());
                values.push((*n).into());
            }
        }
        self.connection.insert(&COUNTERS, &values)
    }

    fn flush_feed(&mut self) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.group.feed);
        let mut values = Vec::with_capacity(rows.len() * FEED.columns);
        for row in &rows {
            self.memory.marks.feed += 1;
            values.push(self.memory.marks.feed.into());
            values.push(row.organisation_id.as_str().into());
            values.push(row.at.into());
            values.push(row.subject.into());
            values.push((&row.id).into());
            values.push((&row.what).into());
        }
        self.connection.insert(&FEED, &values)
    }

    fn flush_audit(&mut self) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.group.audit);
        let mut values = Vec::with_capacity(rows.len() * AUDIT.columns);
        for row in &rows {
            self.memory.marks.audit += 1;
            values.push(self.memory.marks.audit.into());
            values.push(row.organisation_id.as_str().into());
            values.push(row.at.into());
            values.push(Value::Text(&row.by));
            values.push(row.command.into());
            values.push((&row.subject).into());
            values.push((&row.detail).into());
        }
        self.connection.insert(&AUDIT, &values)
    }

    pub(super) fn load_job(&mut self, job_id: &JobId) -> Result<Option<Job>, Error> {
        let sql = "SELECT number, organisation_id, run_id, run_number, project_id, title, seq, \
                   ended_at FROM jobs WHERE id = $1";
        let mut rows = self.read_all(sql, &[job_id.as_str().into()])?;
        let Some(row) = rows.first_mut() else { return Ok(None) };
        let sql = "SELECT at, events FROM job_events WHERE job_id = $1 ORDER BY seq";
        let journal = self.read(sql, &[job_id.as_str().into()])?;
        let mut state = fold(job_id, journal)?;
        if let job::Phase::Leased { deadline, .. } = &mut state.phase {
            *deadline = (*deadline).max(self.memory.settled_at);
        }
        Ok(Some(Job {
            id: job_id.clone(),
            number: row.natural(0)?,
            organisation_id: row.parsed(1)?,
            run_id: row.parsed(2)?,
            run_number: row.natural(3)?,
            project_id: row.parsed(4)?,
            title: row.text(5)?.into(),
            seq: row.natural(6)?,
            state,
            ended_at: row.maybe_time(7)?,
        }))
    }

    pub(super) fn load_run(&mut self, run_id: &RunId) -> Result<Option<Run>, Error> {
        let sql = "SELECT number, organisation_id, title, who, jobs, begun, succeeded, gave_up, \
                   failed, cancelled, skipped, created_at, started_at, ended_at FROM runs \
                   WHERE id = $1";
        let mut rows = self.read_all(sql, &[run_id.as_str().into()])?;
        let Some(row) = rows.first_mut() else { return Ok(None) };
        let sql = "SELECT automation FROM automation_runs WHERE run_id = $1";
        let mut pinned = self.read(sql, &[run_id.as_str().into()])?;
        let automation = pinned.first_mut().map(|row| row.text(0)).transpose()?;
        Ok(Some(Run {
            automation: automation.map(Into::into),
            id: run_id.clone(),
            number: row.natural(0)?,
            organisation_id: row.parsed(1)?,
            title: row.text(2)?.into(),
            by: Arc::new(row.json::<By>(3)?),
            tally: Tally {
                jobs: row.small(4)?,
                begun: row.small(5)?,
                succeeded: row.small(6)?,
                gave_up: row.small(7)?,
                failed: row.small(8)?,
                cancelled: row.small(9)?,
                skipped: row.small(10)?,
            },
            created_at: row.time(11)?,
            started_at: row.maybe_time(12)?,
            ended_at: row.maybe_time(13)?,
        }))
    }
}

fn run_values<'a>(run: &'a Run, values: &mut Vec<Value<'a>>) {
    values.push(run.id.as_str().into());
    values.push(run.number.into());
    values.push(run.organisation_id.as_str().into());
    values.push(Value::Text(&run.title));
    values.push(super::tx::who(&run.by).to_string().into());
    values.push(run.standing().as_str().into());
    values.push(run.tally.jobs.into());
    values.push(run.tally.begun.into());
    values.push(run.tally.succeeded.into());
    values.push(run.tally.gave_up.into());
    values.push(run.tally.failed.into());
    values.push(run.tally.cancelled.into());
    values.push(run.tally.skipped.into());
    values.push(run.created_at.into());
    values.push(run.started_at.into());
    values.push(run.ended_at.into());
}

/// A job's state from the rows of its journal (`at`, `events`), in order.
pub(crate) fn fold(
    job_id: &JobId,
    journal: Vec<crate::database::Row>,
) -> Result<job::State, Error> {
    let mut state: Option<job::State> = None;
    for mut row in journal {
        let (at, events): (Time, Vec<Event>) = (row.time(0)?, row.json(1)?);
        for event in &events {
            match &mut state {
                Some(state) => state.apply(event, at),
                None => state = job::State::begin(event, at),
            }
        }
    }
    state.ok_or_else(|| Error::Database {
        context: format!("the journal of {job_id} does not begin with its creation"),
    })
}
