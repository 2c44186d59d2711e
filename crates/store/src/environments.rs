//! Environments that live by themselves. Commands go through [`windlass_run::environment::decide`];
//! events and row are written in the transaction of the command that caused them. What a runner says
//! of activity is in the row only: it would fill the journal and mean nothing in it.

mod rows;
mod work;

pub use work::Work;

use std::{collections::HashSet, sync::Arc};

use serde::{Deserialize, Serialize};
use windlass_run::{
    Duration, EnvironmentId, OrganisationId, ProjectId, RunnerId, Time,
    actor::{Actor, By},
    class::Limited,
    environment::{
        self, Command, Ended, Event, Limits, Phase, Refusal, Seen, Spec, State, Unpushed,
    },
    job::start::{Basis, cut_limits},
};

use crate::{
    Error, Store,
    work::Wish,
    writer::tx::{Tx, who},
};

/// How much newer a sign of activity must be to be written down.
const ACTIVITY: Duration = Duration::from_secs(15);
/// The most bytes of a runner's words about a start that are kept.
const REPORT_BYTES: usize = 256 * 1024;

/// An environment to create.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEnvironment {
    /// Its id.
    pub id: EnvironmentId,
    /// Its organisation.
    pub organisation_id: OrganisationId,
    /// Whose limits it counts against: the id of a user, or of a token that no user made.
    pub owner: String,
    /// What it shall be.
    pub spec: Spec,
}

/// An environment as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvironmentRow {
    /// Its id.
    pub id: EnvironmentId,
    /// Its place in the order of creation.
    pub number: u64,
    /// Its organisation.
    pub organisation_id: OrganisationId,
    /// Whose it is.
    pub owner: String,
    /// The number of its last event.
    pub seq: u64,
    /// What it is.
    pub state: State,
    /// What its runner said of the last start.
    pub report: StartReport,
    /// When it changed last.
    pub changed_at: Time,
}

/// What a runner says of an environment's last start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartReport {
    /// The parts of the start in order, each with its time in microseconds.
    pub stages: Vec<(String, u64)>,
    /// The end of the start's log, redacted.
    pub log: String,
    /// What it got of what its class says.
    #[serde(default)]
    pub limits: Vec<Limited>,
    /// What was there before its first start; absent of a later one.
    #[serde(default)]
    pub from: Option<Basis>,
    /// Ports that the repository names: each with what it calls it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offered: Vec<(u16, String)>,
}

/// What a runner says of an environment that it keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Which.
    pub id: EnvironmentId,
    /// The wish that it knew.
    pub generation: u64,
    /// What it sees.
    pub seen: Seen,
    /// When something happened in it last.
    pub active_at: Option<Time>,
    /// Work that no repository has; the outer absence means that it did not look.
    pub unpushed: Option<Option<Unpushed>>,
    /// The last start, if there is news of it.
    pub report: Option<StartReport>,
    /// How its services ended by themselves lately, the oldest first.
    pub ended: Vec<Ended>,
}

/// A runner that says what it has and asks what it shall have.
#[derive(Clone, Debug, PartialEq)]
pub struct Sync {
    /// Its organisation.
    pub organisation_id: OrganisationId,
    /// Which runner.
    pub runner_id: RunnerId,
    /// How many environments it lets run at once.
    pub capacity: u32,
    /// What it has.
    pub observed: Vec<Observed>,
}

/// Which environments a list shall show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this owner only.
    pub owner: Option<String>,
    /// Of this project only.
    pub project_id: Option<ProjectId>,
    /// In this phase only.
    pub phase: Option<String>,
    /// Archived and deleted ones too.
    pub all: bool,
    /// Only those before this number.
    pub before: Option<u64>,
}

/// One decision of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The number of its last event.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// Who.
    pub by: By,
    /// What happened.
    pub events: Vec<Event>,
}

impl Store {
    /// Creates an environment. The same id again answers with the one that is there.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the name is taken; [`Error::Invalid`] if it can't be, or a limit is
    /// reached; [`Error::NotFound`] for its project.
    pub async fn create_environment(
        &self,
        by: By,
        new: NewEnvironment,
        limits: Limits,
        now: Time,
    ) -> Result<EnvironmentRow, Error> {
        self.command(move |tx| create(tx, &by, &new, limits, now)).await
    }

    /// Gives a command to an environment's machine. A refusal is an answer.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] if it would run and a limit is reached.
    pub async fn command_environment(
        &self,
        by: By,
        organisation_id: OrganisationId,
        id: EnvironmentId,
        command: Command,
        limits: Limits,
        now: Time,
    ) -> Result<Result<EnvironmentRow, Refusal>, Error> {
        self.command(move |tx| {
            let row = rows::own(tx, &organisation_id, &id)?;
            if command == Command::Start && !row.state.is_live() {
                few_enough_run(tx, &row.organisation_id, &row.owner, limits)?;
            }
            change(tx, row, &command, &who(&by), now)
        })
        .await
    }

    /// A runner says what it has: that is kept, waiting environments are given to it while it has
    /// room, and the answer is what it shall have. What it has and nobody knows is not in the answer
    /// and must be left alone.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn sync_environments(
        &self,
        sync: Sync,
        now: Time,
    ) -> Result<Vec<EnvironmentRow>, Error> {
        self.command(move |tx| self::sync(tx, &sync, now)).await
    }

    /// What was under way on this runner is lost until it is back.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn lose_environments(
        &self,
        runner_id: RunnerId,
        why: String,
        now: Time,
    ) -> Result<Vec<EnvironmentId>, Error> {
        self.command(move |tx| {
            let by = who(&By::system("watch"));
            let mut lost = Vec::new();
            for row in rows::of_runner(tx, &runner_id)? {
                let (id, seq) = (row.id.clone(), row.seq);
                let lose = Command::Lose { why: why.clone() };
                if change(tx, row, &lose, &by, now)?.is_ok_and(|after| after.seq > seq) {
                    lost.push(id);
                }
            }
            Ok(lost)
        })
        .await
    }

    /// Whatever's time has come is acted on: idle time, life, the end of undoing. Gives what changed.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn watch_environments(&self, now: Time) -> Result<Vec<EnvironmentId>, Error> {
        if rows::due(self, now).await?.is_empty() {
            return Ok(Vec::new());
        }
        self.command(move |tx| {
            let by = who(&By::system("watch"));
            let mut changed = Vec::new();
            for row in rows::due_now(tx, now)? {
                let (id, seq) = (row.id.clone(), row.seq);
                if change(tx, row, &Command::Watch, &by, now)?.is_ok_and(|after| after.seq > seq) {
                    changed.push(id);
                }
            }
            Ok(changed)
        })
        .await
    }
}

fn create(
    tx: &mut Tx<'_>,
    by: &By,
    new: &NewEnvironment,
    limits: Limits,
    now: Time,
) -> Result<EnvironmentRow, Error> {
    if let Some(row) = rows::find(tx, &new.id)? {
        let same = row.organisation_id == new.organisation_id && row.state.spec == new.spec;
        let why = format!("there is an environment {} already", new.id);
        return if same { Ok(row) } else { Err(Error::Conflict { why }) };
    }
    if tx.project(&new.spec.project_id)?.as_ref() != Some(&new.organisation_id) {
        return Err(Error::NotFound { what: "project", id: new.spec.project_id.to_string() });
    }
    if let Some(from) = &new.spec.forked {
        forkable(tx, &new.organisation_id, from)?;
    }
    let created = environment::create(new.spec.clone(), by.clone())
        .map_err(|invalid| Error::Invalid { why: invalid.to_string() })?;
    let state = State::begin(&created, now)
        .ok_or_else(|| Error::Invalid { why: "an environment begins with its creation".into() })?;
    if rows::name_is_taken(tx, &new.organisation_id, &new.spec.name)? {
        let why = format!("there is an environment {} already", new.spec.name);
        return Err(Error::Conflict { why });
    }
    few_enough(tx, new, limits)?;
    let row = EnvironmentRow {
        id: new.id.clone(),
        number: tx.number(),
        organisation_id: new.organisation_id.clone(),
        owner: new.owner.clone(),
        seq: 1,
        state,
        report: StartReport::default(),
        changed_at: now,
    };
    let who = who(by);
    rows::insert(tx, &row)?;
    rows::journal(tx, &row, &[created], &who, now)?;
    told(tx, &row, now);
    audit(tx, &row, &who, "environment.create", None, now);
    Ok(row)
}

/// Whether there is a work tree to begin with, and where it will stay for the moment.
fn forkable(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    from: &EnvironmentId,
) -> Result<(), Error> {
    let from = rows::own(tx, organisation_id, from)?;
    let is_going = from.state.deletion.is_some() || from.state.phase == Phase::Deleted;
    if from.state.runner_id.is_some() && !is_going {
        return Ok(());
    }
    let name = &from.state.spec.name;
    let why = match is_going {
        true => format!("{name} is being deleted: have it back first"),
        false => format!("{name} has no work tree yet: it waits for a runner"),
    };
    Err(Error::Invalid { why })
}

fn few_enough(tx: &mut Tx<'_>, new: &NewEnvironment, limits: Limits) -> Result<(), Error> {
    let organisation_id = &new.organisation_id;
    let of_person = rows::count(tx, organisation_id, "owner", &new.owner)?;
    if of_person >= u64::from(limits.of_person) {
        let why = format!(
            "you have {of_person} environments, and at most {} are allowed: delete one first, or \
             start the server with a higher --environments-of-person",
            limits.of_person
        );
        return Err(Error::Invalid { why });
    }
    let of_project = rows::count(tx, organisation_id, "project_id", new.spec.project_id.as_str())?;
    if of_project >= u64::from(limits.of_project) {
        let why = format!(
            "the project has {of_project} environments, and at most {} are allowed: delete one \
             first, or start the server with a higher --environments-of-project",
            limits.of_project
        );
        return Err(Error::Invalid { why });
    }
    few_enough_run(tx, organisation_id, &new.owner, limits)
}

fn few_enough_run(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    owner: &str,
    limits: Limits,
) -> Result<(), Error> {
    let running = rows::count_live(tx, organisation_id, owner)?;
    if running < u64::from(limits.running_of_person) {
        return Ok(());
    }
    Err(Error::Invalid {
        why: format!(
            "{running} of your environments run, and at most {} may at once: stop one first, or start \
             the server with a higher --environments-running",
            limits.running_of_person
        ),
    })
}

/// Gives a command to the machine and keeps what comes of it.
fn change(
    tx: &mut Tx<'_>,
    mut row: EnvironmentRow,
    command: &Command,
    who: &Arc<str>,
    now: Time,
) -> Result<Result<EnvironmentRow, Refusal>, Error> {
    let events = match environment::decide(&row.state, command, now) {
        Ok(events) => events,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let active_before = row.state.active_at;
    events.iter().for_each(|event| row.state.apply(event, now));
    let (activity, kept): (Vec<Event>, Vec<Event>) =
        events.into_iter().partition(|event| matches!(event, Event::Active { .. }));
    if kept.is_empty() {
        if !activity.is_empty() && row.state.active_at.since(active_before) >= ACTIVITY {
            rows::update(tx, &row)?;
        }
        return Ok(Ok(row));
    }
    row.seq += kept.len() as u64;
    row.changed_at = now;
    rows::update(tx, &row)?;
    rows::journal(tx, &row, &kept, who, now)?;
    told(tx, &row, now);
    if let Some(name) = audited(command) {
        audit(tx, &row, who, name, Some(command), now);
    }
    Ok(Ok(row))
}

/// What people do is in the audit log; what runners and the watch see is in the journal.
fn audited(command: &Command) -> Option<&'static str> {
    match command {
        Command::Start => Some("environment.start"),
        Command::Stop { .. } => Some("environment.stop"),
        Command::Archive => Some("environment.archive"),
        Command::Unarchive => Some("environment.unarchive"),
        Command::Delete { .. } => Some("environment.delete"),
        Command::Undelete => Some("environment.undelete"),
        Command::Enter { .. } => Some("environment.enter"),
        Command::Publish { .. } => Some("environment.publish"),
        Command::Unpublish { .. } => Some("environment.unpublish"),
        Command::Edit { .. } => Some("environment.edit"),
        Command::Steer { .. } => Some("environment.steer"),
        Command::Place { .. } | Command::Observe { .. } | Command::Lose { .. } => None,
        Command::Watch => Some("environment.watch"),
    }
}

fn sync(tx: &mut Tx<'_>, sync: &Sync, now: Time) -> Result<Vec<EnvironmentRow>, Error> {
    let by = who(&By::own(Actor::Runner(sync.runner_id.clone())));
    let mut spoken_of = HashSet::new();
    for observed in &sync.observed {
        let found = rows::find(tx, &observed.id)?;
        let Some(row) = found.filter(|row| row.organisation_id == sync.organisation_id) else {
            continue;
        };
        if row.state.runner_id.as_ref() == Some(&sync.runner_id) {
            spoken_of.insert(row.id.clone());
            observe(tx, row, sync, observed, &by, now)?;
        }
    }
    let mut wanted = rows::of_runner(tx, &sync.runner_id)?;
    let mut running = wanted.iter().filter(|row| row.state.is_live()).count();
    let at_work = tx.memory.runners.get(&sync.runner_id).filter(|r| r.wish == Wish::Work);
    let labels = at_work.map(|runner| runner.labels.clone());
    let waiting = match labels {
        Some(labels) => rows::waiting(tx, &sync.organisation_id, &labels)?,
        None => Vec::new(),
    };
    for row in waiting {
        if running >= sync.capacity as usize {
            break;
        }
        if let Some(from) = &row.state.spec.forked {
            // The work tree that it begins with lies on one runner only.
            let from = rows::find(tx, from)?;
            let is_here =
                from.is_some_and(|from| from.state.runner_id.as_ref() == Some(&sync.runner_id));
            if !is_here {
                continue;
            }
        }
        let place = Command::Place { runner_id: sync.runner_id.clone() };
        if let Ok(row) = change(tx, row, &place, &by, now)? {
            wanted.push(row);
            running += 1;
        }
    }
    // One that is gone for good, and of which the runner still has something.
    for id in spoken_of {
        if !wanted.iter().any(|row| row.id == id) {
            wanted.extend(rows::find(tx, &id)?);
        }
    }
    Ok(wanted)
}

fn observe(
    tx: &mut Tx<'_>,
    mut row: EnvironmentRow,
    sync: &Sync,
    observed: &Observed,
    by: &Arc<str>,
    now: Time,
) -> Result<(), Error> {
    let report = observed.report.as_ref().map(cut);
    if let Some(report) = report.filter(|report| *report != row.report) {
        row.report = report;
        rows::update(tx, &row)?;
        tx.tell(&row.organisation_id, "environment", row.id.to_string(), "report", now);
    }
    if row.state.phase == Phase::Deleted {
        return Ok(());
    }
    let command = Command::Observe {
        runner_id: sync.runner_id.clone(),
        generation: observed.generation,
        seen: observed.seen.clone(),
        active_at: observed.active_at,
        unpushed: observed.unpushed.clone(),
        ended: observed.ended.clone(),
    };
    change(tx, row, &command, by, now).map(drop)
}

fn cut(report: &StartReport) -> StartReport {
    let from = report.log.len().saturating_sub(REPORT_BYTES);
    let from = (from..report.log.len()).find(|at| report.log.is_char_boundary(*at)).unwrap_or(0);
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    StartReport {
        stages: report.stages.iter().take(100).map(|(name, t)| (clean(name), *t)).collect(),
        log: clean(&report.log[from..]),
        limits: cut_limits(&report.limits),
        from: report.from,
        offered: report.offered.iter().take(100).map(|(port, name)| (*port, clean(name))).collect(),
    }
}

fn told(tx: &mut Tx<'_>, row: &EnvironmentRow, now: Time) {
    let phase = row.state.phase.name();
    tx.tell(&row.organisation_id, "environment", row.id.to_string(), phase, now);
}

fn audit(
    tx: &mut Tx<'_>,
    row: &EnvironmentRow,
    who: &Arc<str>,
    name: &'static str,
    command: Option<&Command>,
    now: Time,
) {
    let mut detail = serde_json::json!({
        "name": row.state.spec.name,
        "project_id": row.state.spec.project_id,
        "phase": row.state.phase.name(),
        "reason": row.state.phase.reason(),
    });
    if let Some(way) = command.and_then(Command::way) {
        detail["entered"] = serde_json::json!(way);
    }
    if let Some(Command::Publish { port, .. } | Command::Unpublish { port }) = command {
        detail["port"] = serde_json::json!(port);
        detail["published"] = serde_json::json!(row.state.published(*port));
    }
    if let Some(Command::Steer { steer }) = command {
        detail["steered"] = serde_json::json!(steer);
    }
    if let Some(Command::Edit { edit }) = command {
        detail["edited"] = serde_json::json!(edit.clone().short());
    }
    tx.audit(who, &row.organisation_id, name, row.id.as_str(), detail.to_string(), now);
}
