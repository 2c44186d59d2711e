//! What a command may do: look things up, change jobs by events, write rows. Rows of jobs and what
//! follows from them are collected and written at the end of the group, once each; a read writes
//! them first.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use windlass_run::{
    EffectKey, JobId, OrganisationId, ProjectId, RunId, Time,
    actor::By,
    effect::{self, Executor},
    job::{self, Command, Event, Refusal},
};

use crate::{
    Error,
    database::{Connection, Failure, Insert, Row, Value},
    dialect::Dialect,
    fleets::follow,
    runs::{self, Standing},
    streams::StreamId,
    writer::memory::{Job, Memory, Run},
};

/// A row of the journal that is to be written.
pub(crate) struct JournalRow {
    pub job_id: JobId,
    pub seq: u64,
    pub at: Time,
    pub by: Arc<str>,
    pub events: String,
}

/// An entry of the feed that is to be written.
pub(crate) struct FeedRow {
    pub organisation_id: OrganisationId,
    pub at: Time,
    pub subject: &'static str,
    pub id: String,
    pub what: String,
}

/// An entry of the audit log that is to be written.
pub(crate) struct AuditRow {
    pub organisation_id: OrganisationId,
    pub at: Time,
    pub by: Arc<str>,
    pub command: &'static str,
    pub subject: String,
    pub detail: String,
}

/// What a group has changed so far.
#[derive(Default)]
pub(crate) struct Group {
    /// True once the transaction was begun.
    pub begun: bool,
    /// True once the running command has changed something.
    pub touched: bool,
    /// What the database said when it failed under the running command.
    pub failure: Option<Failure>,
    /// Jobs as they were before the group.
    pub jobs_before: HashMap<JobId, Option<Arc<Job>>>,
    /// Runs that must be read again if the group is given up.
    pub runs_touched: HashSet<RunId>,
    /// Fleets that must be read again if the group is given up.
    pub fleets_touched: HashSet<RunId>,
    /// Streams that must be read again if the group is given up.
    pub streams_touched: HashSet<StreamId>,
    /// Jobs whose row is to be written, with the time of the last change.
    pub jobs: BTreeMap<JobId, Time>,
    /// Runs whose row is to be written, with the time of the last change.
    pub runs: BTreeMap<RunId, Time>,
    /// Runs whose row must not be there yet.
    pub runs_new: HashSet<RunId>,
    /// Runs whose standing changed.
    pub runs_told: HashSet<RunId>,
    /// Fleets whose row is to be written, with the time of the last change.
    pub fleets: BTreeMap<RunId, Time>,
    pub journal: Vec<JournalRow>,
    /// Effects whose row is to be written: job, when staged (if now), when changed.
    pub effects: BTreeMap<EffectKey, (JobId, Time)>,
    /// Effects for the server: true if staged now, false if their end was recorded.
    pub outbox: BTreeMap<EffectKey, (JobId, Time, bool)>,
    pub counters: BTreeMap<(OrganisationId, String, &'static str), i64>,
    pub feed: Vec<FeedRow>,
    pub audit: Vec<AuditRow>,
}

impl Group {
    /// Begins anew.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// One command's access to the writer's world.
pub(crate) struct Tx<'a> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) memory: &'a mut Memory,
    pub(crate) group: &'a mut Group,
}

impl<'a> Tx<'a> {
    pub(super) fn new(
        connection: &'a mut Connection,
        memory: &'a mut Memory,
        group: &'a mut Group,
    ) -> Self {
        group.touched = false;
        Self { connection, memory, group }
    }

    /// Which dialect the database speaks.
    pub(crate) fn dialect(&self) -> Dialect {
        self.connection.dialect()
    }

    /// Writes a row right away. Not for the tables that are collected.
    pub(crate) fn write(&mut self, sql: &str, values: &[Value<'_>]) -> Result<(), Error> {
        // What is collected instead is ids, JSON and checked titles, so only this is looked through.
        values.iter().try_for_each(Value::check)?;
        self.group.touched = true;
        let written = self.begin().and_then(|()| self.connection.write(sql, values));
        written.map_err(|failure| self.failed(failure))
    }

    /// Writes many rows right away, as [`Tx::write`] does.
    pub(crate) fn write_many(
        &mut self,
        insert: &Insert,
        values: &[Value<'_>],
    ) -> Result<(), Error> {
        values.iter().try_for_each(Value::check)?;
        self.group.touched = true;
        let written = self.begin().and_then(|()| self.connection.insert(insert, values));
        written.map_err(|failure| self.failed(failure))
    }

    /// Reads tables of which nothing is collected.
    pub(crate) fn read(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        self.connection.read(sql, values).map_err(|failure| self.failed(failure))
    }

    /// Reads any table: what is collected is written first.
    pub(crate) fn read_all(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        self.flush().map_err(|failure| self.failed(failure))?;
        self.read(sql, values)
    }

    /// The next number of runs, jobs, streams, pull requests, events and firings.
    pub(crate) fn number(&mut self) -> u64 {
        self.memory.marks.number += 1;
        self.memory.marks.number
    }

    /// Adds an entry to the feed.
    pub(crate) fn tell(
        &mut self,
        organisation_id: &OrganisationId,
        subject: &'static str,
        id: String,
        what: impl Into<String>,
        at: Time,
    ) {
        self.group.touched = true;
        self.add_to_feed(organisation_id, subject, id, what.into(), at);
    }

    pub(crate) fn add_to_feed(
        &mut self,
        organisation_id: &OrganisationId,
        subject: &'static str,
        id: String,
        what: String,
        at: Time,
    ) {
        let organisation_id = organisation_id.clone();
        self.group.feed.push(FeedRow { organisation_id, at, subject, id, what });
    }

    /// Adds an entry to the audit log.
    pub(crate) fn audit(
        &mut self,
        by: &Arc<str>,
        organisation_id: &OrganisationId,
        command: &'static str,
        subject: impl Into<String>,
        detail: impl Into<String>,
        at: Time,
    ) {
        self.group.touched = true;
        self.group.audit.push(AuditRow {
            organisation_id: organisation_id.clone(),
            at,
            by: by.clone(),
            command,
            subject: subject.into(),
            detail: detail.into(),
        });
    }

    /// A job; absent if there is none.
    pub(crate) fn job(&mut self, job_id: &JobId) -> Result<Option<Arc<Job>>, Error> {
        if let Some(job) = self.memory.jobs.get(job_id) {
            return Ok(Some(job));
        }
        let Some(job) = self.load_job(job_id)? else { return Ok(None) };
        let job = Arc::new(job);
        self.memory.put_job(job_id, Some(job.clone()));
        Ok(Some(job))
    }

    /// A job of an organisation.
    pub(crate) fn own_job(
        &mut self,
        organisation_id: &OrganisationId,
        job_id: &JobId,
    ) -> Result<Arc<Job>, Error> {
        let job = self.job(job_id)?.filter(|job| job.organisation_id == *organisation_id);
        job.ok_or_else(|| Error::NotFound { what: "job", id: job_id.to_string() })
    }

    /// Gives a command to a job's machine, and keeps what comes of it. A refusal is an answer.
    pub(crate) fn decide(
        &mut self,
        job: &Arc<Job>,
        command: &Command,
        by: &Arc<str>,
        now: Time,
    ) -> Result<Result<Arc<Job>, Refusal>, Error> {
        match job::decide(&job.state, command, now) {
            Err(refusal) => Ok(Err(refusal)),
            Ok(events) => self.change(job, events, by, now).map(Ok),
        }
    }

    /// Keeps events of a job: journal, projections, outbox, counters, feed.
    pub(crate) fn change(
        &mut self,
        job: &Arc<Job>,
        events: Vec<Event>,
        by: &Arc<str>,
        at: Time,
    ) -> Result<Arc<Job>, Error> {
        if events.is_empty() {
            return Ok(job.clone());
        }
        let before = job.clone();
        let mut after = (**job).clone();
        for event in &events {
            after.state.apply(event, at);
        }
        let kept: Vec<&Event> =
            events.iter().filter(|event| !matches!(event, Event::Renewed { .. })).collect();
        if kept.is_empty() {
            // Only the deadline moved: that is memory's business alone.
            let after = Arc::new(after);
            self.save_before(&before);
            self.memory.put_job(&after.id, Some(after.clone()));
            return Ok(after);
        }
        self.group.touched = true;
        after.seq += kept.len() as u64;
        let text = serde_json::to_string(&kept)
            .map_err(|e| Error::Database { context: format!("an event as JSON: {e}") })?;
        self.group.journal.push(JournalRow {
            job_id: after.id.clone(),
            seq: after.seq,
            at,
            by: by.clone(),
            events: text,
        });
        for event in &kept {
            self.follow(&after, event, at);
            if let Event::EffectChanged { state: effect::State::Done(outcome), .. } = event {
                follow::change_opened(self, &after, outcome, at)?;
            }
        }
        let (from, to) = (before.standing(), after.standing());
        if matches!(to, Standing::Ended(_)) {
            after.ended_at.get_or_insert(at);
        }
        self.save_before(&before);
        let after = Arc::new(after);
        self.memory.put_job(&after.id, Some(after.clone()));
        self.group.jobs.insert(after.id.clone(), at);
        if from != to {
            self.restand(&before, &after, at)?;
        }
        Ok(after)
    }

    /// Keeps a job's first event.
    pub(crate) fn create_job(
        &mut self,
        job: Job,
        created: &Event,
        by: &Arc<str>,
        at: Time,
    ) -> Result<(), Error> {
        self.group.touched = true;
        let events = serde_json::to_string(&[created])
            .map_err(|e| Error::Database { context: format!("an event as JSON: {e}") })?;
        let (job_id, seq) = (job.id.clone(), job.seq);
        self.group.journal.push(JournalRow { job_id, seq, at, by: by.clone(), events });
        self.group.jobs_before.entry(job.id.clone()).or_insert(None);
        self.group.jobs.insert(job.id.clone(), at);
        self.count(&job, 1);
        self.memory.marks.queue += 1;
        let job_id = job.id.clone();
        self.memory.put_job(&job_id, Some(Arc::new(job)));
        Ok(())
    }

    /// Keeps a run's first row.
    pub(crate) fn create_run(&mut self, run: Run, at: Time) {
        self.group.runs_new.insert(run.id.clone());
        self.group.runs_told.insert(run.id.clone());
        self.put_run(run, at);
    }

    /// Keeps a run's row, as it stands now.
    pub(crate) fn put_run(&mut self, run: Run, at: Time) {
        self.group.touched = true;
        self.group.runs_touched.insert(run.id.clone());
        self.group.runs.insert(run.id.clone(), at);
        self.memory.runs.put(run.id.clone(), run);
    }

    /// What a single event means outside of the job itself.
    fn follow(&mut self, job: &Job, event: &Event, at: Time) {
        let (key, is_new) = match event {
            Event::EffectStaged { key, .. } => (key, true),
            Event::EffectChanged { key, .. } => (key, false),
            Event::Requeued { .. } => {
                self.memory.marks.queue += 1;
                return;
            }
            _ => return,
        };
        let Some(effect) = job.state.effects.iter().find(|effect| effect.key == *key) else {
            return;
        };
        self.group.effects.insert(key.clone(), (job.id.clone(), at));
        if effect.request.executor() == Executor::Server {
            let open =
                matches!(effect.state, effect::State::Staged | effect::State::Granted { .. });
            if is_new {
                self.memory.marks.outbox += 1;
            }
            let staged_now = is_new || matches!(self.group.outbox.get(key), Some((_, _, true)));
            if !open || staged_now {
                self.group.outbox.insert(key.clone(), (job.id.clone(), at, open));
            }
        }
    }

    /// A job stands elsewhere: counters and its run follow.
    fn restand(&mut self, before: &Job, after: &Job, at: Time) -> Result<(), Error> {
        self.count(before, -1);
        self.count(after, 1);
        if let Some(fleet) = self.fleet(&after.run_id)? {
            return follow::job_stands(self, &fleet, after, at);
        }
        let mut run = self.run(&after.run_id)?;
        let stood = run.standing();
        match (before.standing(), after.standing()) {
            (_, Standing::Ended(outcome)) => {
                run.tally.end(outcome, before.state.started_at.is_some());
            }
            (Standing::Queued, Standing::Running) if before.state.started_at.is_none() => {
                run.tally.begin();
                run.started_at.get_or_insert(at);
            }
            _ => return Ok(()),
        }
        let stands = run.standing();
        if matches!(stands, Standing::Ended(_)) {
            run.ended_at.get_or_insert(at);
        }
        let run_id = run.id.clone();
        self.put_run(run.clone(), at);
        if stood != stands {
            self.group.runs_told.insert(run_id);
            if let Standing::Ended(outcome) = stands {
                // Of a run over many projects it is not the event of one of them.
                let alone = (run.tally.jobs == 1).then_some(&after.project_id);
                runs::told::ended(self, &run, alone, outcome, at)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, job: &Job, by: i64) {
        let name = job.standing().as_str();
        for scope in ["", job.project_id.as_str()] {
            let key = (job.organisation_id.clone(), scope.to_owned(), name);
            *self.group.counters.entry(key).or_insert(0) += by;
        }
    }

    fn save_before(&mut self, before: &Arc<Job>) {
        let saved = self.group.jobs_before.entry(before.id.clone());
        saved.or_insert_with(|| Some(before.clone()));
    }

    /// A run.
    pub(crate) fn run(&mut self, run_id: &RunId) -> Result<Run, Error> {
        if let Some(run) = self.memory.runs.get(run_id) {
            return Ok(run);
        }
        let run = self.load_run(run_id)?;
        let run = run.ok_or_else(|| Error::NotFound { what: "run", id: run_id.to_string() })?;
        self.memory.runs.put(run_id.clone(), run.clone());
        Ok(run)
    }

    /// The organisation of a project that is not archived; absent if there is none.
    pub(crate) fn project(
        &mut self,
        project_id: &ProjectId,
    ) -> Result<Option<OrganisationId>, Error> {
        if let Some(organisation_id) = self.memory.projects.get(project_id) {
            return Ok(Some(organisation_id));
        }
        let sql = "SELECT organisation_id FROM projects WHERE id = $1 AND archived_at IS NULL";
        let mut rows = self.read(sql, &[project_id.as_str().into()])?;
        let Some(row) = rows.first_mut() else { return Ok(None) };
        let organisation_id: OrganisationId = row.parsed(0)?;
        self.memory.projects.put(project_id.clone(), organisation_id.clone());
        Ok(Some(organisation_id))
    }

    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        if !self.group.begun {
            self.connection.begin()?;
            self.group.begun = true;
        }
        Ok(())
    }

    /// Remembers what the database said, so that the group is given up whatever the command makes
    /// of the error.
    fn failed(&mut self, failure: Failure) -> Error {
        let error = match &failure {
            Failure::Statement(context) => Error::Database { context: context.clone() },
            Failure::Full(context) => Error::Full { context: context.clone() },
            Failure::Lost(context) => Error::Unavailable { context: context.clone() },
        };
        self.group.failure = Some(failure);
        error
    }
}

/// Who gave a command, as the journal keeps it.
pub(crate) fn who(by: &By) -> Arc<str> {
    serde_json::to_string(by).unwrap_or_default().into()
}
