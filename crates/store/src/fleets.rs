//! Fleets: runs over many targets. The machine is [`windlass_run::fleet`]'s and knows counts; here are the
//! rows of its targets, and every event of the one is written with what it means for the others. A target has
//! a job only once it was admitted; whoever writes its end has seen its row running.
//!
//! Nothing here chooses when to look again, or makes a job's spec: whoever admits brings the jobs.

pub(crate) mod command;
pub(crate) mod follow;

mod admit;
mod changes;
pub(crate) mod create;
mod machine;
mod operations;
mod rows;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use windlass_run::{
    JobId, OrganisationId, ProjectId, RunId, Time,
    actor::By,
    fleet::{self, Event, Plan, State, Which},
};

pub use admit::{Admit, Admitted, NotBegun, Pick};
pub use changes::{ChangeOf, Clusters};
pub use operations::{NewOperation, OperationRow, Taken};

use crate::{
    Error, Store, automations::Pinned, database::Value as Column, runs::Started, writer::tx::who,
};

/// The most targets of a fleet.
pub const MOST_TARGETS: usize = 100_000;

/// A fleet to start. Its id is the caller's, so that a repeated command is the same command.
#[derive(Clone, Debug, PartialEq)]
pub struct NewFleet {
    /// The run's id.
    pub id: RunId,
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// The run in one line.
    pub title: String,
    /// The automation it is a run of, as it was when it was made.
    pub automation: Option<Pinned>,
    /// How it is to go.
    pub plan: Plan,
    /// What all jobs have in common, as JSON: for whoever makes them. Not looked into.
    pub frozen: String,
    /// What the targets were chosen by, for people.
    pub selected: Value,
    /// Its targets, at least one, in the order in which they are to be begun within their rings.
    pub targets: Vec<NewTarget>,
    /// As [`crate::runs::NewRun::idempotency_key`].
    pub idempotency_key: Option<String>,
}

/// A target of a fleet to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewTarget {
    /// The project.
    pub project_id: ProjectId,
    /// What people call the repository: the project's name.
    pub repository: String,
    /// The forge's host: `local`, or the name of one.
    pub forge: String,
    /// Who would review its change, where that is known.
    pub owner: Option<String>,
    /// The branch that the change is meant for; absent: what the project says when the job is made.
    pub base: Option<String>,
    /// What rings choose by.
    pub labels: Vec<String>,
}

/// A fleet as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetRow {
    /// The run.
    pub run_id: RunId,
    /// The run's number.
    pub number: u64,
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// The run in one line.
    pub title: String,
    /// What the targets were chosen by.
    pub selected: Value,
    /// The machine.
    pub state: State,
    /// When it was made.
    pub created_at: Time,
    /// When it last changed.
    pub changed_at: Time,
}

/// A target as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetRow {
    /// Its place, from 0: what a page is cut by.
    pub ordinal: u32,
    /// The project.
    pub project_id: ProjectId,
    /// What people call the repository.
    pub repository: String,
    /// The forge's host.
    pub forge: String,
    /// Who reviews its change.
    pub owner: Option<String>,
    /// The branch that the change is meant for, where that was said.
    pub base: Option<String>,
    /// What rings choose by.
    pub labels: Vec<String>,
    /// `planned`, `running`, or the outcome of the newest job.
    pub state: String,
    /// How many times it was begun.
    pub attempt: u32,
    /// The newest job.
    pub job_id: Option<JobId>,
    /// What its failure is counted as.
    pub kind: Option<String>,
    /// Whose trouble it is.
    pub trouble: Option<String>,
    /// Why it failed, for a person.
    pub reason: Option<String>,
    /// What its next or newest job is told beside its task.
    pub instruction: Option<String>,
    /// Its pull request.
    pub pull_number: Option<u64>,
    /// How its change stands: `open`, `sent_back`, `approved`, `merged` or `closed`.
    pub review: Option<String>,
    /// Whether that was verified.
    pub verified: bool,
    /// The cluster that its change was in last.
    pub cluster: Option<String>,
}

/// What the grid of a fleet needs of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// `planned`, `running`, or the outcome.
    pub state: String,
    /// How its change stands, if it has one.
    pub review: Option<String>,
}

/// Which targets are wanted. Those fields that are set must all hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetFilter {
    /// Only those of this ring, by its first ordinal and the one after its last.
    pub within: Option<(u32, u32)>,
    /// Only those that stand so.
    pub state: Option<String>,
    /// Only those with this trouble.
    pub trouble: Option<String>,
    /// Only those whose failure is counted as this.
    pub kind: Option<String>,
    /// Only those whose change is in this cluster.
    pub cluster: Option<String>,
    /// Only those whose change stands so.
    pub review: Option<String>,
    /// Only those after this one.
    pub after: Option<u32>,
}

/// An entry of a fleet's journal.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetEvent {
    /// When.
    pub at: Time,
    /// Who.
    pub by: By,
    /// What.
    pub event: Event,
}

/// How a fleet stood at the end of a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The minute's begin.
    pub at: Time,
    /// Targets not begun.
    pub planned: u32,
    /// With a job that has not ended.
    pub running: u32,
    /// That ended well or had nothing to do.
    pub succeeded: u32,
    /// That did not.
    pub failed: u32,
    /// Changes neither merged nor closed.
    pub open: u32,
    /// Changes merged.
    pub landed: u32,
}

impl FleetRow {
    /// The ordinals of a ring: its first, and the one after its last.
    pub fn ring(&self, ring: u16) -> (u32, u32) {
        rows::ring(&self.state, ring)
    }

    /// The ring of a target.
    pub fn ring_of(&self, ordinal: u32) -> u16 {
        rows::ring_of(&self.state, ordinal)
    }
}

impl Store {
    /// Starts a fleet: all of its targets are planned, in one transaction.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a plan that can't be, or too many targets; [`Error::Conflict`] for an id or
    /// idempotency key that was used for something else.
    pub async fn create_fleet(&self, by: By, new: NewFleet, now: Time) -> Result<Started, Error> {
        let prepared = create::prepare(by, new)?;
        self.command(move |tx| create::create(tx, &prepared, now)).await
    }

    /// Gives a command to a fleet's machine that has nothing to do with single targets: pause, go on, cancel,
    /// advance, watch, a forge that waits. Gives the state after it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] with the machine's refusal.
    pub async fn command_fleet(
        &self,
        by: By,
        organisation_id: OrganisationId,
        run_id: RunId,
        command: fleet::Command,
        now: Time,
    ) -> Result<State, Error> {
        let by = who(&by);
        self.command(move |tx| command::give(tx, &by, &organisation_id, &run_id, &command, now))
            .await
    }

    /// Plans failed targets again. Gives the state after it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if none failed like that.
    pub async fn retry_fleet(
        &self,
        by: By,
        organisation_id: OrganisationId,
        run_id: RunId,
        which: Which,
        instruction: Option<String>,
        now: Time,
    ) -> Result<State, Error> {
        let retry = fleet::Command::Retry { which, instruction, by: by.clone() };
        let by = who(&by);
        self.command(move |tx| command::retry(tx, &by, &organisation_id, &run_id, &retry, now))
            .await
    }

    /// Makes jobs for planned targets, as far as the machine allows it and they are still planned.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for a spec that does not hold.
    pub async fn admit_targets(&self, admit: Admit, now: Time) -> Result<Admitted, Error> {
        let prepared = admit::prepare(admit)?;
        self.command(move |tx| admit::admit(tx, &prepared, now)).await
    }

    /// When the pull request of a job may be opened at the earliest, and why not now; absent if now, or if the
    /// job is of no fleet.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn change_not_before(
        &self,
        job_id: &JobId,
        now: Time,
    ) -> Result<Option<(Time, String)>, Error> {
        let sql = "SELECT f.state, t.ordinal, t.forge, t.review FROM targets t \
                   JOIN fleets f ON f.number = t.run_number WHERE t.job_id = $1";
        let mut found = self.query(sql, vec![job_id.to_string().into()]).await?;
        let Some(row) = found.first_mut() else { return Ok(None) };
        let (state, ordinal): (State, u32) = (row.json(0)?, row.small(1)?);
        let (forge, review) = (row.text(2)?, row.maybe_text(3)?);
        if review.is_some_and(|review| rows::is_unmerged(&review)) {
            return Ok(None);
        }
        let ring = rows::ring_of(&state, ordinal);
        let open = fleet::Command::OpenChange { ring, forge, verified: false };
        Ok(match fleet::decide(&state, &open, now) {
            Err(fleet::Refusal::NotBefore { until, why }) => Some((until, why)),
            Ok(_) | Err(_) => None,
        })
    }

    /// One fleet; absent if the run is none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn fleet(
        &self,
        organisation_id: &OrganisationId,
        run_id: &RunId,
    ) -> Result<Option<FleetRow>, Error> {
        let sql = format!(
            "SELECT {} FROM fleets WHERE run_id = $1 AND organisation_id = $2",
            rows::FLEET
        );
        let values = vec![run_id.to_string().into(), organisation_id.to_string().into()];
        self.query(&sql, values).await?.into_iter().next().map(rows::fleet).transpose()
    }

    /// The fleet that a job is of.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn fleet_of_job(&self, job_id: &JobId) -> Result<Option<RunId>, Error> {
        let sql = "SELECT f.run_id FROM targets t JOIN fleets f ON f.number = t.run_number \
                   WHERE t.job_id = $1";
        let mut found = self.query(sql, vec![job_id.to_string().into()]).await?;
        found.first_mut().map(|row| row.parsed(0)).transpose()
    }

    /// Fleets, newest first, with a smaller number than `before`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn fleets(
        &self,
        organisation_id: &OrganisationId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<FleetRow>, Error> {
        let sql = format!(
            "SELECT {} FROM fleets WHERE organisation_id = $1 AND number < $2 \
             ORDER BY number DESC LIMIT $3",
            rows::FLEET
        );
        let before: Column<'static> = before.map_or(i64::MAX.into(), Into::into);
        let values = vec![organisation_id.to_string().into(), before, limit.clamp(1, 200).into()];
        self.query(&sql, values).await?.into_iter().map(rows::fleet).collect()
    }

    /// All fleets that have something to do by themselves, of all organisations, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn live_fleets(&self) -> Result<Vec<FleetRow>, Error> {
        let sql = format!("SELECT {} FROM fleets WHERE live = 1 ORDER BY number", rows::FLEET);
        self.query(&sql, Vec::new()).await?.into_iter().map(rows::fleet).collect()
    }

    /// What all jobs of a fleet have in common, as it was given.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn frozen(&self, run_id: &RunId) -> Result<String, Error> {
        let sql = "SELECT frozen FROM fleets WHERE run_id = $1";
        let found = self.query(sql, vec![run_id.to_string().into()]).await?.into_iter().next();
        found.ok_or_else(|| machine::not_found(run_id))?.text(0)
    }

    /// Targets of a fleet, in order, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn targets(
        &self,
        fleet: &FleetRow,
        filter: TargetFilter,
        limit: u32,
    ) -> Result<Vec<TargetRow>, Error> {
        let (sql, values) = rows::list(fleet.number, filter, limit);
        self.query(&sql, values).await?.into_iter().map(rows::target).collect()
    }

    /// The states of all targets, in order: what a grid is drawn from.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn cells(&self, fleet: &FleetRow) -> Result<Vec<Cell>, Error> {
        let sql = "SELECT state, review FROM targets WHERE run_number = $1 ORDER BY ordinal";
        let rows = self.query(sql, vec![fleet.number.into()]).await?;
        let cell = |mut row: crate::database::Row| {
            Ok(Cell { state: row.text(0)?, review: row.maybe_text(1)? })
        };
        rows.into_iter().map(cell).collect()
    }

    /// The jobs of a fleet that have not ended, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn running_jobs(&self, fleet: &FleetRow, limit: u32) -> Result<Vec<JobId>, Error> {
        let sql = "SELECT job_id FROM targets WHERE run_number = $1 AND state = 'running' \
                   AND job_id IS NOT NULL ORDER BY ordinal LIMIT $2";
        let rows = self.query(sql, vec![fleet.number.into(), limit.into()]).await?;
        rows.into_iter().map(|mut row| row.parsed(0)).collect()
    }

    /// What the repositories and owners of candidates have open already, for [`fleet::pick`]: of a repository
    /// its pull requests that jobs made and the jobs that wait or run there; of an owner what waits for their
    /// review and what runs, in all fleets.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn load(
        &self,
        fleet: &FleetRow,
        candidates: &[TargetRow],
    ) -> Result<fleet::Load, Error> {
        let mut load = fleet::Load::default();
        let limits = &fleet.state.plan.limits;
        let organisation_id = fleet.organisation_id.to_string();
        if limits.open_changes_per_repository.is_some() {
            for candidate in candidates {
                let sql = "SELECT (SELECT COUNT(*) FROM pulls WHERE project_id = $1 \
                           AND state = 'open' AND job_id IS NOT NULL) + \
                           (SELECT COALESCE(SUM(n), 0) FROM counters WHERE organisation_id = $2 \
                           AND scope = $1 AND name IN ('queued', 'running'))";
                let project_id = candidate.project_id.to_string();
                let values = vec![project_id.into(), organisation_id.clone().into()];
                let count = self.query(sql, values).await?.first_mut().map(|row| row.small(0));
                load.repositories
                    .insert(candidate.repository.clone(), count.transpose()?.unwrap_or(0));
            }
        }
        if limits.open_changes_per_owner.is_some() {
            let owners: std::collections::BTreeSet<&String> =
                candidates.iter().filter_map(|candidate| candidate.owner.as_ref()).collect();
            for owner in owners {
                let sql = "SELECT COUNT(*) FROM targets WHERE organisation_id = $1 AND owner = $2 \
                           AND owner IS NOT NULL AND (state = 'running' OR review = 'open')";
                let values = vec![organisation_id.clone().into(), owner.clone().into()];
                let count = self.query(sql, values).await?.first_mut().map(|row| row.small(0));
                load.owners.insert(owner.clone(), count.transpose()?.unwrap_or(0));
            }
        }
        Ok(load)
    }

    /// The journal of a fleet as a whole, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn fleet_events(
        &self,
        fleet: &FleetRow,
        limit: u32,
    ) -> Result<Vec<FleetEvent>, Error> {
        let sql = "SELECT at, who, event FROM fleet_events WHERE run_number = $1 \
                   ORDER BY seq DESC LIMIT $2";
        let rows = self.query(sql, vec![fleet.number.into(), limit.into()]).await?;
        let event = |mut row: crate::database::Row| {
            Ok(FleetEvent { at: row.time(0)?, by: row.json(1)?, event: row.json(2)? })
        };
        rows.into_iter().map(event).collect()
    }

    /// How a fleet came along, minute by minute, oldest first. Minutes in which nothing changed are left out.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn fleet_points(&self, fleet: &FleetRow) -> Result<Vec<Point>, Error> {
        let sql = "SELECT minute, planned, running, succeeded, failed, open, landed \
                   FROM fleet_points WHERE run_number = $1 ORDER BY minute";
        let rows = self.query(sql, vec![fleet.number.into()]).await?;
        rows.into_iter().map(rows::point).collect()
    }
}
