//! The consistency check: folds every journal again and compares it with everything derived from it.

use std::collections::{BTreeMap, HashMap, HashSet};

use windlass_run::{JobId, RunId, effect, fleet, job, run::Tally};

use crate::{
    Error, Store,
    database::readers::Values,
    runs::{JobRow, RunRow, Standing},
    writer::flush,
};

/// How many rows are read at once.
const AT_ONCE: u64 = 500;

impl Store {
    /// Refolds every journal and compares it with the projections, counters, outbox, ledger and
    /// blobs. An empty answer means that everything agrees; each entry is a sentence for a person.
    /// Slow: it reads everything. To be called while nothing is being written.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn check(&self) -> Result<Vec<String>, Error> {
        let mut check = Check::default();
        let mut after = JobId::new(windlass_run::Time::from_micros(0), 0);
        loop {
            let jobs = self.jobs_after(&after).await?;
            let Some(last) = jobs.last() else { break };
            after = last.id.clone();
            for row in &jobs {
                self.check_job(row, &mut check).await?;
            }
        }
        self.check_fleets(&mut check).await?;
        self.check_runs(&mut check).await?;
        self.check_counters(&mut check).await?;
        self.check_ledger(&mut check).await?;
        self.check_orphans(&mut check).await?;
        self.check_streams(&mut check).await?;
        Ok(check.faults)
    }

    async fn jobs_after(&self, after: &JobId) -> Result<Vec<JobRow>, Error> {
        let columns = crate::runs::JOB_COLUMNS;
        let sql = format!("SELECT {columns} FROM jobs WHERE id > $1 ORDER BY id LIMIT $2");
        let rows = self.query(&sql, vec![after.to_string().into(), AT_ONCE.into()]).await?;
        rows.into_iter().map(crate::runs::job_of).collect()
    }

    async fn check_job(&self, row: &JobRow, check: &mut Check) -> Result<(), Error> {
        let sql = "SELECT seq, at, who, events FROM job_events WHERE job_id = $1 ORDER BY seq";
        let values: Values = vec![row.id.to_string().into()];
        let decisions = self.query(sql, values.clone()).await?;
        let entries = crate::runs::journal_of(decisions)?;
        let gapless = entries.iter().map(|entry| entry.seq).eq(1..=row.seq);
        check.expect(gapless, || {
            format!("the journal of {} does not have the entries 1 to {}", row.id, row.seq)
        });
        let sql = "SELECT at, events FROM job_events WHERE job_id = $1 ORDER BY seq";
        let state = match flush::fold(&row.id, self.query(sql, values).await?) {
            Ok(state) => state,
            Err(error) => {
                check.faults.push(error.to_string());
                return Ok(());
            }
        };
        check.job(row, &state);
        Ok(())
    }

    async fn check_runs(&self, check: &mut Check) -> Result<(), Error> {
        let mut after = 0u64;
        loop {
            let columns = crate::runs::RUN_COLUMNS;
            let sql =
                format!("SELECT {columns} FROM runs WHERE number > $1 ORDER BY number LIMIT $2");
            let rows = self.query(&sql, vec![after.into(), AT_ONCE.into()]).await?;
            let rows: Vec<RunRow> =
                rows.into_iter().map(crate::runs::run_of).collect::<Result<_, _>>()?;
            let Some(last) = rows.last() else { break };
            after = last.number;
            for row in &rows {
                check.run(row);
            }
        }
        for run_id in check.tallies.keys() {
            check.faults.push(format!("there are jobs of the run {run_id}, which isn't there"));
        }
        Ok(())
    }

    /// The targets' rows say what the machine has counted.
    async fn check_fleets(&self, check: &mut Check) -> Result<(), Error> {
        let sql = "SELECT run_id, number, state FROM fleets ORDER BY number";
        for mut row in self.query(sql, vec![]).await? {
            let (run_id, number): (RunId, u64) = (row.parsed(0)?, row.natural(1)?);
            let state: fleet::State = row.json(2)?;
            let sql = "SELECT state, COUNT(*) FROM targets WHERE run_number = $1 GROUP BY state";
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            for mut row in self.query(sql, vec![number.into()]).await? {
                counts.insert(row.text(0)?, row.small(1)?);
            }
            let mut count = |name: &str| counts.remove(name).unwrap_or(0);
            let rows = (count("planned"), count("running"), count("succeeded"), count("skipped"));
            let sum = |of: fn(&fleet::Ring) -> u32| state.rings.iter().map(of).sum::<u32>();
            let counted = (
                sum(|ring| ring.planned),
                sum(|ring| ring.running),
                sum(|ring| ring.succeeded),
                sum(|ring| ring.skipped),
            );
            let failed: u32 = counts.values().sum();
            let counted_failed = sum(fleet::Ring::failed);
            check.expect((rows, failed) == (counted, counted_failed), || {
                format!("the fleet {run_id} counts {counted:?}, {counted_failed}, its rows are {rows:?}, {failed}")
            });
            check.fleets.insert(run_id, state.tally());
        }
        Ok(())
    }

    async fn check_counters(&self, check: &mut Check) -> Result<(), Error> {
        let sql = "SELECT organisation_id, scope, name, n FROM counters";
        for mut row in self.query(sql, vec![]).await? {
            let key = (row.text(0)?, row.text(1)?, row.text(2)?);
            let (counted, real) = (row.int(3)?, check.counts.remove(&key).unwrap_or(0));
            check.expect(counted == real, || format!("{key:?} is counted {counted}, not {real}"));
        }
        for (key, n) in std::mem::take(&mut check.counts) {
            check.faults.push(format!("{key:?} is not counted, but is {n}"));
        }
        Ok(())
    }

    async fn check_ledger(&self, check: &mut Check) -> Result<(), Error> {
        let sql = "SELECT effect_key, state FROM effects";
        for mut row in self.query(sql, vec![]).await? {
            let (key, state): (String, effect::State) = (row.text(0)?, row.json(1)?);
            let real = check.effects.remove(&key);
            check.expect(real.as_ref() == Some(&state), || {
                format!("the ledger has {key} as {state:?}, the journal as {real:?}")
            });
        }
        for key in std::mem::take(&mut check.effects).into_keys() {
            check.faults.push(format!("the ledger does not have {key}"));
        }
        let sql = "SELECT effect_key FROM outbox";
        for mut row in self.query(sql, vec![]).await? {
            let key = row.text(0)?;
            let wanted = check.outbox.remove(&key);
            check.expect(wanted, || format!("{key} is in the outbox, but its end is recorded"));
        }
        for key in std::mem::take(&mut check.outbox) {
            check.faults.push(format!("{key} is open, but not in the outbox"));
        }
        Ok(())
    }

    async fn check_orphans(&self, check: &mut Check) -> Result<(), Error> {
        let sql = "SELECT DISTINCT job_id FROM job_events";
        for mut row in self.query(sql, vec![]).await? {
            let job_id: JobId = row.parsed(0)?;
            let known = check.jobs.contains(&job_id);
            check.expect(known, || format!("there is a journal of {job_id}, which isn't there"));
        }
        let sql = "SELECT hash, size FROM blobs";
        for mut row in self.query(sql, vec![]).await? {
            let (hash, size) = (row.text(0)?, row.natural(1)?);
            let there = self.inner.blobs.has(&hash, size);
            check.expect(there, || format!("the blob {hash} ({size} bytes) is missing"));
        }
        Ok(())
    }

    async fn check_streams(&self, check: &mut Check) -> Result<(), Error> {
        let sql = "SELECT s.id, s.length, p.start, p.stop FROM streams s \
                   JOIN stream_pieces p ON p.stream_id = s.id ORDER BY s.id, p.start";
        let mut reached: HashMap<u64, (u64, u64)> = HashMap::new();
        for mut row in self.query(sql, vec![]).await? {
            let (id, length, start, stop) =
                (row.natural(0)?, row.natural(1)?, row.natural(2)?, row.natural(3)?);
            let (_, before) = reached.insert(id, (length, stop)).unwrap_or((length, 0));
            check.expect(before == start, || {
                format!("stream {id} has a piece from {start}, after one to {before}")
            });
        }
        for (id, (length, stop)) in reached {
            check.expect(length == stop, || {
                format!("stream {id} is {length} long, but its pieces reach to {stop}")
            });
        }
        Ok(())
    }

    /// Removes blobs to which nothing refers and that are older than `age`: what a crash between
    /// writing a blob and its reference left. Gives how many.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn sweep(&self, age: std::time::Duration) -> Result<u64, Error> {
        let mut known = HashSet::new();
        for mut row in self.query("SELECT hash FROM blobs", vec![]).await? {
            known.insert(row.text(0)?);
        }
        let inner = self.inner.clone();
        self.off_thread(move || inner.blobs.sweep(age, |hash| known.contains(hash))).await
    }
}

/// What the journals say, and where something else says otherwise.
#[derive(Default)]
struct Check {
    faults: Vec<String>,
    jobs: HashSet<JobId>,
    tallies: BTreeMap<RunId, Tally>,
    fleets: BTreeMap<RunId, Tally>,
    counts: BTreeMap<(String, String, String), i64>,
    effects: BTreeMap<String, effect::State>,
    outbox: HashSet<String>,
}

impl Check {
    fn expect(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(fault());
        }
    }

    fn job(&mut self, row: &JobRow, state: &job::State) {
        let standing = match &state.phase {
            job::Phase::Queued { .. } => Standing::Queued,
            job::Phase::Leased { .. } => Standing::Running,
            job::Phase::Ended(end) => Standing::Ended(end.outcome),
        };
        let holder = match &state.phase {
            job::Phase::Leased { runner_id, .. } => Some(runner_id.clone()),
            job::Phase::Queued { .. } | job::Phase::Ended(_) => None,
        };
        let end = match &state.phase {
            job::Phase::Ended(end) => Some(end.clone()),
            job::Phase::Queued { .. } | job::Phase::Leased { .. } => None,
        };
        let derived = JobRow {
            standing,
            runner_id: holder,
            end,
            pull_request: state.pull_request().map(|(number, url)| (number, url.to_owned())),
            tokens: state.tokens,
            created_at: state.created_at,
            started_at: state.started_at,
            project_id: state.spec.target.project_id.clone(),
            ended_at: if matches!(standing, Standing::Ended(_)) { row.ended_at } else { None },
            ..row.clone()
        };
        self.expect(*row == derived, || {
            format!("the row of {} says {row:?}, its journal {derived:?}", row.id)
        });
        if let Some(end) = &derived.end {
            let reason = !end.code.trim().is_empty() && !end.reason.trim().is_empty();
            self.expect(reason && row.ended_at.is_some(), || {
                format!("{} ended without a reason or a time", row.id)
            });
        }
        self.tally(row, state, standing);
        for effect in &state.effects {
            let open =
                matches!(effect.state, effect::State::Staged | effect::State::Granted { .. });
            if open && effect.request.executor() == effect::Executor::Server {
                self.outbox.insert(effect.key.to_string());
            }
            self.effects.insert(effect.key.to_string(), effect.state.clone());
        }
        self.jobs.insert(row.id.clone());
    }

    fn tally(&mut self, row: &JobRow, state: &job::State, standing: Standing) {
        let tally = self.tallies.entry(row.run_id.clone()).or_default();
        tally.jobs += 1;
        if state.started_at.is_some() {
            tally.begin();
        }
        if let Standing::Ended(outcome) = standing {
            tally.end(outcome, state.started_at.is_some());
        }
        for scope in [String::new(), row.project_id.to_string()] {
            let key = (row.organisation_id.to_string(), scope, standing.as_str().to_owned());
            *self.counts.entry(key).or_insert(0) += 1;
        }
    }

    fn run(&mut self, row: &RunRow) {
        let jobs = self.tallies.remove(&row.id).unwrap_or_default();
        // A run that is a fleet counts targets: some have no job, some had several.
        let tally = self.fleets.remove(&row.id).unwrap_or(jobs);
        self.expect(tally == row.tally, || {
            format!("the run {} tallies {:?}, its jobs {tally:?}", row.id, row.tally)
        });
        let standing = match tally.outcome() {
            Some(outcome) => Standing::Ended(outcome),
            None if tally.begun > 0 => Standing::Running,
            None => Standing::Queued,
        };
        let ended = matches!(standing, Standing::Ended(_));
        self.expect(standing == row.standing && ended == row.ended_at.is_some(), || {
            format!("the run {} stands as {:?}, its jobs say {standing:?}", row.id, row.standing)
        });
    }
}
