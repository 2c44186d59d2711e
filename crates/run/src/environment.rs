//! The machine of an environment that lives by itself: a person's place to work, which outlives
//! stops and restarts. (What a job works in lives and dies with the job's lease and is not this.)
//!
//! What is *wanted* is decided here; what *is* comes from the runner that keeps the environment, as
//! observations. Both sides compare levels, never edges: an observation may be repeated, lost or
//! late, and carries the generation of the wish that it knew, so that a late one changes nothing.

mod apply;
mod decide;
mod edit;
mod port;
mod service;

use serde::{Deserialize, Serialize};

pub use decide::{decide, watch_at};
pub use edit::Edit;
pub use port::{Admission, LONGEST_PORT_NAME, MOST_PORTS, Published};
pub use service::{Ended, Steer};

use crate::{Class, Duration, EnvironmentId, Labels, ProjectId, RunnerId, Time, actor::By};

/// How long nothing may happen in an environment before it is stopped, unless it says otherwise.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// How long one that was stopped stays in the list before it is archived, unless somebody says otherwise.
pub const ARCHIVE: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long a deleted environment can be had back.
pub const UNDO: Duration = Duration::from_secs(24 * 3600);
/// The shortest time until an idle environment is stopped.
pub const SHORTEST_IDLE: Duration = Duration::from_secs(60);
/// The longest maximum life.
pub const LONGEST_LIFE: Duration = Duration::from_secs(180 * 24 * 3600);
/// The most bytes of a name.
pub const LONGEST_NAME: usize = 63;

/// What an environment shall be. Fixed at its creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// What people call it: unique among those of its organisation that are there.
    pub name: String,
    /// The repository.
    pub project_id: ProjectId,
    /// The branch that its work tree begins with.
    pub base: String,
    /// Hosts that programs inside may reach.
    pub network: Vec<String>,
    /// How long nothing may happen before it is stopped; absent: it is never stopped for that.
    pub idle: Option<Duration>,
    /// How long it may exist; absent: without end. When it is over, the environment is deleted.
    pub life: Option<Duration>,
    /// The environment whose work tree it begins with, where it is a fork. It is made where that one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked: Option<EnvironmentId>,
    /// What a runner must have to take it, what its class needs included.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub runs_on: Labels,
    /// What it may use of its machine; absent: what the runner's operator says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// How long it stays stopped before it is archived; absent: it is never archived for that.
    #[serde(default = "usual_archive")]
    pub archive: Option<Duration>,
}

/// Of one from before that could be said.
#[expect(clippy::unnecessary_wraps, reason = "it is the value of a field that may be absent")]
fn usual_archive() -> Option<Duration> {
    Some(ARCHIVE)
}

/// How many environments there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// That one person has, archived ones too.
    pub of_person: u32,
    /// That one person has and that run or shall run.
    pub running_of_person: u32,
    /// Of one project.
    pub of_project: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { of_person: 50, running_of_person: 10, of_project: 200 }
    }
}

/// What an environment is, folded from its events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What it shall be.
    pub spec: Spec,
    /// Whose it is: who created it.
    pub by: By,
    /// When it was created.
    pub created_at: Time,
    /// Where it stands.
    pub phase: Phase,
    /// What is wanted of its runner.
    pub wanted: Wanted,
    /// Grows by one with each new wish; an observation under an older one is out of date.
    pub generation: u64,
    /// The runner that keeps its work tree, once one was found.
    pub runner_id: Option<RunnerId>,
    /// When it began to run; absent while it does not.
    pub running_since: Option<Time>,
    /// When it was stopped; absent while it is not.
    #[serde(default)]
    pub stopped_at: Option<Time>,
    /// When something happened in it last.
    pub active_at: Time,
    /// Work that no repository has yet, as the runner saw it last.
    pub unpushed: Option<Unpushed>,
    /// Set while it is deleted and can still be had back.
    pub deletion: Option<Deletion>,
    /// Why what the repository says of its environment failed, while it runs without that, to be
    /// repaired.
    #[serde(default)]
    pub recovery: Option<String>,
    /// The ports that are published, in their order.
    #[serde(default)]
    pub ports: Vec<Published>,
    /// How often a port was opened so far.
    #[serde(default)]
    pub openings: u64,
    /// When a service ended last, as far as it is in the journal.
    #[serde(default)]
    pub service_ended_at: Option<Time>,
}

/// Where an environment stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// It waits for a runner that has room.
    Creating,
    /// Its runner makes it, or will.
    Starting {
        /// What it waits for, if it waits.
        waits: Option<String>,
    },
    /// It is ready.
    Running,
    /// Its runner stops it, or will.
    Stopping {
        /// Why it is stopped, for a person.
        why: String,
    },
    /// Nothing runs; its work tree is kept.
    Stopped {
        /// Why it was stopped, for a person.
        why: String,
    },
    /// It is stopped and out of the way.
    Archived,
    /// Its runner was not heard of any more. The work tree is on that runner's machine, and found
    /// again when it is back.
    Lost {
        /// Who was not heard of, for a person.
        why: String,
    },
    /// It could not be made, or broke. It can be started again.
    Failed {
        /// Why, for a person.
        reason: String,
    },
    /// It is being stopped and will be removed, unless somebody wants it back before that.
    Deleting,
    /// It is gone for good.
    Deleted,
}

impl Phase {
    /// The word that the database, the API and the pages use.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Starting { .. } => "starting",
            Self::Running => "running",
            Self::Stopping { .. } => "stopping",
            Self::Stopped { .. } => "stopped",
            Self::Archived => "archived",
            Self::Lost { .. } => "lost",
            Self::Failed { .. } => "failed",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        }
    }

    /// Why it stands there, where there is something to say.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Starting { waits } => waits.as_deref(),
            Self::Stopping { why } | Self::Stopped { why } | Self::Lost { why } => Some(why),
            Self::Failed { reason } => Some(reason),
            Self::Creating | Self::Running | Self::Archived | Self::Deleting | Self::Deleted => {
                None
            }
        }
    }
}

/// What is wanted of an environment's runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// That it runs.
    Running,
    /// That nothing runs and the work tree is kept.
    Stopped,
    /// That nothing of it is left.
    Gone,
}

/// Work in an environment that no repository has yet, kept as a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpushed {
    /// The commit that holds all of it.
    pub commit: String,
    /// How many files differ from the commit that the work tree began with.
    pub files: u32,
}

/// That somebody deleted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// Who.
    pub by: By,
    /// When.
    pub at: Time,
    /// When it is removed for good.
    pub purge_at: Time,
}

/// What a runner sees of an environment that it keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "seen", rename_all = "snake_case")]
pub enum Seen {
    /// It is on its way.
    Starting {
        /// What it waits for, if it waits.
        waits: Option<String>,
    },
    /// It is ready.
    Running,
    /// It is ready, but without what the repository says of its environment, since that failed.
    Recovery {
        /// Why it failed, for a person.
        reason: String,
    },
    /// It is on its way to a stop.
    Stopping,
    /// Nothing runs; the work tree is kept.
    Stopped,
    /// It could not be made, or broke. It is not tried again under this generation.
    Failed {
        /// Why, for a person.
        reason: String,
    },
    /// Nothing of it is left.
    Gone,
}

/// What somebody wants of an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Gives it to a runner that has room. Legal while it waits for one.
    Place {
        /// The runner.
        runner_id: RunnerId,
    },
    /// Somebody wants it to run. One that does, or is about to, is left alone.
    Start,
    /// Somebody wants it to stop. One that has stopped, or is about to, is left alone.
    Stop {
        /// Why, for a person.
        why: String,
    },
    /// Somebody puts it away. It is stopped first.
    Archive,
    /// Somebody wants it in the list again.
    Unarchive,
    /// Somebody deletes it. It can be had back until it is removed.
    Delete {
        /// Who.
        by: By,
    },
    /// Somebody wants it back.
    Undelete,
    /// Its runner says how it stands. Legal from the runner that keeps it; one that knew an older
    /// wish yields nothing.
    Observe {
        /// Who says so.
        runner_id: RunnerId,
        /// The wish that it knew.
        generation: u64,
        /// What it sees.
        seen: Seen,
        /// When something happened in it last, as far as it knows.
        active_at: Option<Time>,
        /// Work that no repository has yet; absent if the runner did not look.
        unpushed: Option<Option<Unpushed>>,
        /// How services ended lately, the oldest first. What is known already yields nothing.
        #[serde(default)]
        ended: Vec<Ended>,
    },
    /// Somebody goes in. Legal while it runs.
    Enter {
        /// How.
        way: Way,
    },
    /// Somebody publishes a port, or changes its name or who is let in.
    Publish {
        /// Which, from 1.
        port: u16,
        /// What people call it.
        name: Option<String>,
        /// Who is let in.
        admission: Admission,
    },
    /// Somebody closes a published port. One that is closed is left alone.
    Unpublish {
        /// Which.
        port: u16,
    },
    /// Somebody changed something among its files: that is noted, however it stands by now.
    Edit {
        /// What was done.
        edit: Edit,
    },
    /// Somebody wants something of its services and tasks. Legal while it runs.
    Steer {
        /// What.
        steer: Steer,
    },
    /// Its runner was not heard of for too long.
    Lose {
        /// Who was not heard of, for a person.
        why: String,
    },
    /// The server looks: idle time, life and the time for undoing. Always legal; often yields nothing.
    Watch,
}

impl Command {
    /// The way in, of one that is about that.
    pub fn way(&self) -> Option<Way> {
        match self {
            Self::Enter { way } => Some(*way),
            Self::Place { .. }
            | Self::Start
            | Self::Stop { .. }
            | Self::Archive
            | Self::Unarchive
            | Self::Delete { .. }
            | Self::Undelete
            | Self::Observe { .. }
            | Self::Publish { .. }
            | Self::Unpublish { .. }
            | Self::Edit { .. }
            | Self::Steer { .. }
            | Self::Lose { .. }
            | Self::Watch => None,
        }
    }
}

/// What happened to an environment. The journal's content: variants are only ever added.
#[expect(clippy::large_enum_variant, reason = "one is created and told of once")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// It was created.
    Created {
        /// What it shall be.
        spec: Spec,
        /// Who asked.
        by: By,
    },
    /// A runner has it.
    Placed {
        /// The runner.
        runner_id: RunnerId,
    },
    /// Something else is wanted.
    Wanted {
        /// What.
        wanted: Wanted,
    },
    /// It stands elsewhere.
    Moved {
        /// Where.
        phase: Phase,
    },
    /// Something happened in it. Not journalled one by one: a projection holds it.
    Active {
        /// When, at the latest.
        at: Time,
    },
    /// The runner looked for work that no repository has.
    Unpushed {
        /// What it found.
        found: Option<Unpushed>,
    },
    /// Somebody deleted it.
    Deleted(Deletion),
    /// Somebody wanted it back.
    Undeleted,
    /// It runs without what the repository says of its environment, or with it again.
    Recovering {
        /// Why that failed; absent: it runs as it should.
        reason: Option<String>,
    },
    /// Somebody went in.
    Entered {
        /// How.
        way: Way,
    },
    /// Somebody published a port, or changed how it is.
    Published(Published),
    /// Somebody closed a published port.
    Unpublished {
        /// Which.
        port: u16,
    },
    /// Somebody changed something among its files.
    Edited {
        /// What.
        edit: Edit,
    },
    /// Somebody wanted something of its services and tasks.
    Steered {
        /// What.
        steer: Steer,
    },
    /// A service ended by itself.
    ServiceEnded {
        /// Which, and how.
        ended: Ended,
    },
}

/// A way into an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "way", rename_all = "snake_case")]
pub enum Way {
    /// A stream on which a program is executed.
    Exec,
    /// A terminal in a page.
    Terminal,
    /// A connection by SSH.
    Ssh,
    /// A port.
    Port {
        /// Which.
        port: u16,
    },
    /// Its files, read or changed by the API or a page.
    Files,
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// The command does not fit where it stands.
    #[error("{why}")]
    Illegal {
        /// Why and what to do, for a person.
        why: String,
    },
    /// Another runner keeps it, or none does.
    #[error("this runner does not keep the environment")]
    NotYours,
}

/// An environment that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// Which field of the spec.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// The first event of an environment.
///
/// # Errors
/// The first fault of the spec.
pub fn create(spec: Spec, by: By) -> Result<Event, Invalid> {
    spec.check()?;
    Ok(Event::Created { spec, by })
}

impl Spec {
    /// Whether such an environment can be.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), Invalid> {
        let fault = |field, why: String| Err(Invalid { field, why });
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_name = self.name.bytes().all(plain)
            && self.name.starts_with(|c: char| c.is_ascii_lowercase())
            && !self.name.ends_with('-')
            && self.name.len() <= LONGEST_NAME;
        if !is_name {
            let why = format!(
                "a name begins with a letter, has at most {LONGEST_NAME} of a-z, 0-9 and `-`, and does \
                 not end with `-`"
            );
            return fault("name", why);
        }
        if self.base.is_empty() || self.base.len() > 250 {
            return fault("ref", "a branch has 1 to 250 bytes".to_owned());
        }
        if self.idle.is_some_and(|idle| idle < SHORTEST_IDLE) {
            return fault("idle_minutes", "it is at least 1 minute".to_owned());
        }
        let lives = |life: Duration| life >= SHORTEST_IDLE && life <= LONGEST_LIFE;
        if !self.life.is_none_or(lives) {
            return fault("life_hours", "it is at least 1 minute and at most 180 days".to_owned());
        }
        if self.archive.is_some_and(|archive| archive < SHORTEST_IDLE) {
            return fault("archive_days", "it is at least 1 minute".to_owned());
        }
        Ok(())
    }
}

impl State {
    /// Whether it runs or shall run: what counts against the limit of running ones.
    pub fn is_live(&self) -> bool {
        self.wanted == Wanted::Running && !matches!(self.phase, Phase::Failed { .. })
    }

    /// When its life is over.
    pub fn lives_until(&self) -> Option<Time> {
        self.spec.life.map(|life| self.created_at + life)
    }
}
