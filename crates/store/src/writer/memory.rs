//! What the writer remembers of what it committed. Everything here can be read again from the
//! database, except lease deadlines (a restart gives each lease a fresh term) and when runners were
//! last heard of.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use windlass_run::{
    Duration, JobId, Labels, OrganisationId, ProjectId, RunId, RunnerId, Time, actor::By, fleet,
    job, run::Tally,
};

use crate::{
    Error,
    database::{Connection, Failure},
    feed::Hint,
    runs::Standing,
    streams::StreamId,
    work::Wish,
    writer::{generations::Generations, queue::Queues},
};

/// A job in memory.
#[derive(Clone)]
pub(crate) struct Job {
    pub id: JobId,
    pub number: u64,
    pub organisation_id: OrganisationId,
    pub run_id: RunId,
    pub run_number: u64,
    pub project_id: ProjectId,
    pub title: Arc<str>,
    pub seq: u64,
    pub state: job::State,
    pub ended_at: Option<Time>,
}

impl Job {
    /// Where it stands, as lists filter by it.
    pub(crate) fn standing(&self) -> Standing {
        match &self.state.phase {
            job::Phase::Queued { .. } => Standing::Queued,
            job::Phase::Leased { .. } => Standing::Running,
            job::Phase::Ended(end) => Standing::Ended(end.outcome),
        }
    }
}

/// A run in memory.
#[derive(Clone)]
pub(crate) struct Run {
    pub id: RunId,
    pub number: u64,
    pub organisation_id: OrganisationId,
    pub title: Arc<str>,
    pub by: Arc<By>,
    /// The name of the automation that it is a run of.
    pub automation: Option<Arc<str>>,
    pub tally: Tally,
    pub created_at: Time,
    pub started_at: Option<Time>,
    pub ended_at: Option<Time>,
}

impl Run {
    /// Where it stands, as lists filter by it.
    pub(crate) fn standing(&self) -> Standing {
        match self.tally.outcome() {
            Some(outcome) => Standing::Ended(outcome),
            None if self.tally.begun > 0 => Standing::Running,
            None => Standing::Queued,
        }
    }
}

/// A fleet in memory.
#[derive(Clone)]
pub(crate) struct Fleet {
    pub run_id: RunId,
    pub run_number: u64,
    pub organisation_id: OrganisationId,
    /// The newest entry of its journal.
    pub seq: u64,
    pub state: fleet::State,
}

/// A stream in memory.
#[derive(Clone, Copy)]
pub(crate) struct Stream {
    pub id: u64,
    pub length: u64,
    /// Bytes that are in rows and not in blobs yet.
    pub loose: u64,
}

/// A runner in memory.
#[derive(Clone)]
pub(crate) struct Runner {
    pub organisation_id: OrganisationId,
    pub labels: Labels,
    pub wish: Wish,
    pub seen_at: Time,
}

/// Counters that go back when a group is given up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// The newest entry of the feed.
    pub feed: u64,
    /// The newest number given to a run, job, stream, pull request, event, firing or environment.
    pub number: u64,
    /// The newest entry of the audit log.
    pub audit: u64,
    /// See [`Hint`].
    pub queue: u64,
    /// See [`Hint`].
    pub outbox: u64,
    /// See [`Hint`].
    pub events: u64,
    /// See [`Hint`].
    pub handled: u64,
    /// See [`Hint`].
    pub automations: u64,
    /// See [`Hint`].
    pub fleets: u64,
    /// See [`Hint`].
    pub streams: u64,
}

/// What the writer remembers.
pub(crate) struct Memory {
    pub jobs: Generations<JobId, Arc<Job>>,
    pub runs: Generations<RunId, Run>,
    /// Of each run that was asked for: its fleet, if it is one.
    pub fleets: Generations<RunId, Option<Arc<Fleet>>>,
    pub streams: Generations<StreamId, Stream>,
    pub projects: Generations<ProjectId, OrganisationId>,
    pub runners: HashMap<RunnerId, Runner>,
    pub queues: HashMap<OrganisationId, Queues>,
    pub marks: Marks,
    pub generation: u64,
    /// Before then the watchdog leaves leased jobs alone.
    pub settled_at: Time,
    settle: Settle,
    timers: BTreeSet<(Time, JobId)>,
    timer_of: HashMap<JobId, Time>,
}

/// What a memory is made with.
#[derive(Clone, Copy)]
pub(crate) struct Settle {
    /// The time of opening.
    pub now: Time,
    /// The fresh term of each lease.
    pub lease_ttl: Duration,
    /// How many jobs are kept.
    pub jobs: usize,
}

impl Memory {
    /// Reads what must be known before the first command.
    pub(crate) fn load(
        connection: &mut Connection,
        settle: Settle,
        generation: u64,
    ) -> Result<Self, Error> {
        let mut memory = Self {
            jobs: Generations::new(settle.jobs),
            runs: Generations::new(settle.jobs),
            fleets: Generations::new(settle.jobs),
            streams: Generations::new(settle.jobs),
            projects: Generations::new(10_000),
            runners: HashMap::new(),
            queues: HashMap::new(),
            marks: Marks::default(),
            generation,
            settled_at: settle.now + settle.lease_ttl,
            settle,
            timers: BTreeSet::new(),
            timer_of: HashMap::new(),
        };
        memory.load_marks(connection)?;
        for ended in ["ended_at IS NULL", "ended_at IS NOT NULL"] {
            let watched = format!(
                "SELECT id, standing, watch_at FROM jobs WHERE {ended} AND watch_at IS NOT NULL"
            );
            for mut row in connection.read(&watched, &[]).map_err(Failure::into_error)? {
                let (job_id, standing, at) = (row.parsed(0)?, row.text(1)?, row.time(2)?);
                let at = if standing == "running" { at.max(memory.settled_at) } else { at };
                memory.set_timer(&job_id, Some(at));
            }
        }
        let runners = "SELECT id, organisation_id, labels, wish, seen_at FROM runners \
                       WHERE removed_at IS NULL";
        for mut row in connection.read(runners, &[]).map_err(Failure::into_error)? {
            let runner = Runner {
                organisation_id: row.parsed(1)?,
                labels: row.parsed(2)?,
                wish: row.parsed(3)?,
                seen_at: row.time(4)?,
            };
            memory.runners.insert(row.parsed(0)?, runner);
        }
        Ok(memory)
    }

    /// A fresh memory after the connection was lost. The clock is not known here, so the leases'
    /// fresh term begins with the newest time that was seen.
    pub(crate) fn reload(&self, connection: &mut Connection) -> Result<Self, Error> {
        let newest = self.runners.values().map(|runner| runner.seen_at).max();
        let now = newest.map_or(self.settle.now, |seen| seen.max(self.settle.now));
        let mut fresh = Self::load(connection, Settle { now, ..self.settle }, self.generation)?;
        for (runner_id, runner) in &mut fresh.runners {
            if let Some(known) = self.runners.get(runner_id) {
                runner.seen_at = runner.seen_at.max(known.seen_at);
            }
        }
        // Subscribers must not see a hint go backwards.
        fresh.marks.queue = self.marks.queue + 1;
        fresh.marks.outbox = self.marks.outbox + 1;
        fresh.marks.events = self.marks.events + 1;
        fresh.marks.handled = self.marks.handled + 1;
        fresh.marks.automations = self.marks.automations + 1;
        fresh.marks.fleets = self.marks.fleets + 1;
        fresh.marks.streams = self.marks.streams + 1;
        Ok(fresh)
    }

    fn load_marks(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let mut newest = |sql: &str| -> Result<u64, Error> {
            let mut rows = connection.read(sql, &[]).map_err(Failure::into_error)?;
            rows.first_mut().map_or(Ok(0), |row| row.natural(0))
        };
        // Per organisation, so that an index answers.
        self.marks.feed = newest(
            "SELECT COALESCE(MAX((SELECT MAX(f.seq) FROM feed f WHERE f.organisation_id = o.id)), 0) \
             FROM organisations o",
        )?;
        self.marks.audit = newest(
            "SELECT COALESCE(MAX((SELECT MAX(a.seq) FROM audit a WHERE a.organisation_id = o.id)), \
             0) FROM organisations o",
        )?;
        for sql in [
            "SELECT COALESCE(MAX(number), 0) FROM runs",
            "SELECT COALESCE(MAX(number), 0) FROM jobs \
             WHERE run_number = (SELECT MAX(run_number) FROM jobs)",
            "SELECT COALESCE(MAX(id), 0) FROM streams",
            "SELECT COALESCE(MAX(place), 0) FROM pulls",
            "SELECT COALESCE(MAX(number), 0) FROM events",
            "SELECT COALESCE(MAX(number), 0) FROM firings",
            "SELECT COALESCE(MAX(number), 0) FROM environments",
        ] {
            self.marks.number = self.marks.number.max(newest(sql)?);
        }
        Ok(())
    }

    pub(crate) fn marks(&self) -> Marks {
        self.marks
    }

    pub(crate) fn restore(&mut self, marks: Marks) {
        self.marks = marks;
    }

    pub(crate) fn hint(&self) -> Hint {
        Hint {
            feed: self.marks.feed,
            queue: self.marks.queue,
            outbox: self.marks.outbox,
            events: self.marks.events,
            handled: self.marks.handled,
            automations: self.marks.automations,
            fleets: self.marks.fleets,
            streams: self.marks.streams,
        }
    }

    /// Keeps a job as it stands now (or forgets it), along with its places in queue and timers.
    pub(crate) fn put_job(&mut self, job_id: &JobId, job: Option<Arc<Job>>) {
        if let Some(before) = self.jobs.get(job_id)
            && let job::Phase::Queued { not_before } = before.state.phase
            && let Some(queues) = self.queues.get_mut(&before.organisation_id)
        {
            queues.take(&before.state.spec.runs_on, &(not_before, before.number, job_id.clone()));
        }
        let Some(job) = job else {
            self.jobs.remove(job_id);
            self.set_timer(job_id, None);
            return;
        };
        if let job::Phase::Queued { not_before } = job.state.phase
            && let Some(queues) = self.queues.get_mut(&job.organisation_id)
        {
            queues.add(&job.state.spec.runs_on, (not_before, job.number, job_id.clone()));
        }
        self.set_timer(job_id, self.watch_at(&job));
        self.jobs.put(job_id.clone(), job);
    }

    /// When the watchdog should look at a job. Right after opening, leased jobs have time to be
    /// heard of first: their runners may have gone on, and their reports are on the way.
    pub(crate) fn watch_at(&self, job: &Job) -> Option<Time> {
        let at = job.state.watch_at()?;
        match job.state.phase {
            job::Phase::Leased { .. } => Some(at.max(self.settled_at)),
            job::Phase::Queued { .. } | job::Phase::Ended(_) => Some(at),
        }
    }

    /// The next job that the watchdog should look at, and when.
    pub(crate) fn next_timer(&self) -> Option<&(Time, JobId)> {
        self.timers.first()
    }

    fn set_timer(&mut self, job_id: &JobId, at: Option<Time>) {
        let before = match at {
            Some(at) => self.timer_of.insert(job_id.clone(), at),
            None => self.timer_of.remove(job_id),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.timers.remove(&(before, job_id.clone()));
        }
        if let Some(at) = at {
            self.timers.insert((at, job_id.clone()));
        }
    }

    /// Forgets what was not used lately. Leased jobs stay: their deadlines are nowhere else.
    pub(crate) fn shrink(&mut self) {
        self.jobs.shrink(|job| matches!(job.state.phase, job::Phase::Leased { .. }));
        self.runs.shrink(|_| false);
        self.fleets.shrink(|_| false);
        self.streams.shrink(|_| false);
        self.projects.shrink(|_| false);
    }
}
