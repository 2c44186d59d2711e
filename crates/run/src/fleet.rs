//! The fleet machine: a run over many targets, in rings, that stops itself.
//!
//! A fleet knows *counts*, never targets: how many of each ring wait, run, ended well, failed with which
//! code. Ten thousand targets are as small as ten. Targets are rows of the store: *planned*, then admitted
//! with a job, then ended. This machine says how many may be admitted now and from which ring
//! ([`admissible`]); the store picks the rows ([`pick`] helps it to keep the limits that belong to single
//! repositories, owners and forges), writes rows, jobs and the event in one transaction, and hands in what
//! became of them. A row is in exactly one state, so whoever writes an end has seen the row running: that,
//! not this machine, keeps an end from being counted twice.
//!
//! Pausing, going on and cancelling are one event each, whatever the size of the fleet.
//!
//! ```text
//! decide(Watch); apply; admissible; pick; decide(Admitted); apply      until admissible says 0
//! ```

mod admit;
mod apply;
pub mod bound;
mod change;
mod decide;
mod health;
mod pick;
pub mod plan;
mod share;
mod stop;
mod trouble;
mod window;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use admit::{Admission, Why, admissible};
pub use decide::decide;
pub use health::Unmet;
pub use pick::{Candidate, Load, Passed, Picked, pick};
pub use plan::Plan;
pub use share::{Amount, InvalidShare, Share};
pub use stop::Watched;
pub use trouble::Trouble;
pub use window::{SPAN, Window};

use crate::{Time, actor::By, job::Outcome};

/// How many kinds of failure are told apart in a fleet; the rest is counted as [`OTHER`].
pub const MOST_KINDS: usize = 64;
/// What a failure is counted as when there are too many kinds.
pub const OTHER: &str = "other";
/// How many forges can be waited for at once.
pub const MOST_WAITS: usize = 64;
/// How many retries and operations are remembered: the newest.
pub const REMEMBERED: usize = 8;
/// The most characters of a reason, an instruction or a kind of failure that are kept.
pub const LONGEST_TEXT: usize = 4_000;

/// What a fleet is, folded from its events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// How it is to go.
    pub plan: Plan,
    /// Who asked for it.
    pub by: By,
    /// When it was opened.
    pub opened_at: Time,
    /// Where it stands.
    pub phase: Phase,
    /// Set while nothing may be admitted.
    pub hold: Option<Hold>,
    /// The newest ring that is open.
    pub ring: u16,
    /// The rings, in order.
    pub rings: Vec<Ring>,
    /// Changes opened within the last hour.
    pub pace: Window,
    /// The same for forges with a pace of their own, by host.
    pub paces: BTreeMap<String, Window>,
    /// Forges that asked to be left alone until then, by host.
    pub waits: BTreeMap<String, Time>,
    /// What all jobs together have used.
    pub spent: Spent,
    /// How many jobs that was.
    pub jobs_ended: u32,
    /// What each stop rule has seen, in the order of the plan.
    pub watched: Vec<Watched>,
    /// The newest retries, the newest last.
    pub retries: Vec<Retry>,
    /// The newest operations over many changes, the newest last.
    pub operations: Vec<Operation>,
    /// How many operations there have been.
    pub n_operations: u32,
}

/// Where a fleet stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// There is or will be something to do.
    Going,
    /// The job of every target has ended. A retry opens it again; changes go on being reviewed.
    Settled {
        /// Since when.
        since: Time,
    },
    /// Somebody stopped it for good. What runs is told to stop; what was planned is never begun.
    Cancelled(Hold),
}

/// Why nothing is admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Who; absent if a stop rule did.
    pub by: Option<By>,
    /// Why, for a person.
    pub reason: String,
    /// Since when.
    pub since: Time,
}

/// One ring, in counts of targets. Each target is in exactly one of `planned`, `running`, `succeeded`,
/// `skipped` and the failures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// All of them.
    pub targets: u32,
    /// Not begun, or to be begun again.
    pub planned: u32,
    /// With a job that has not ended.
    pub running: u32,
    /// Ended well, with or without a change.
    pub succeeded: u32,
    /// Had nothing to do.
    pub skipped: u32,
    /// Failed, gave up or cancelled, by kind.
    pub failures: BTreeMap<String, Failures>,
    /// The changes of this ring, by how they stand.
    pub changes: Changes,
    /// When the last job ended, so far.
    pub ended_at: Option<Time>,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// How many targets.
    pub count: u32,
    /// Whose trouble it is.
    pub trouble: Trouble,
}

/// How changes stand, as counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Waiting for a reviewer.
    pub open: u32,
    /// Sent back.
    pub sent_back: u32,
    /// Approved, not merged.
    pub approved: u32,
    /// Merged.
    pub merged: u32,
    /// Closed without being merged.
    pub closed: u32,
    /// Those that were verified, among all.
    pub verified: u32,
}

/// How one change stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What a reviewer said.
    pub review: Review,
    /// Whether its checks were seen to pass.
    pub verified: bool,
}

/// What a reviewer said of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Review {
    /// Nothing yet.
    Open,
    /// It needs more work.
    SentBack,
    /// It is good.
    Approved,
    /// It is in.
    Merged,
    /// It will never be in.
    Closed,
}

/// What jobs have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Tokens.
    #[serde(default)]
    pub tokens: u64,
    /// Money, in millionths of a US dollar.
    #[serde(default)]
    pub micro_usd: u64,
}

/// Failed targets that were planned again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Which.
    pub which: Which,
    /// What their new jobs are told beside the old task.
    pub instruction: Option<String>,
    /// Who asked.
    pub by: By,
    /// How many targets.
    pub count: u32,
    /// When.
    pub at: Time,
}

/// Which failed targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "which", content = "of", rename_all = "snake_case")]
pub enum Which {
    /// All that failed or gave up; not what somebody cancelled.
    All,
    /// Those of one kind of failure, as [`Event::JobEnded`] names it.
    Kind(String),
    /// Those with one kind of trouble.
    Trouble(Trouble),
}

/// Something done to many changes, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its number, from 1.
    pub number: u32,
    /// What is done.
    pub what: What,
    /// To how many changes.
    pub of: u32,
    /// With how many it went well.
    pub done: u32,
    /// With how many it went badly.
    pub failed: u32,
    /// Who asked.
    pub by: By,
    /// When.
    pub at: Time,
}

/// What is done to many changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// They are approved.
    Approve,
    /// They are merged.
    Merge,
    /// They are closed.
    Close,
    /// They are sent back, with what is wrong.
    SendBack,
    /// They are brought up to date with their base.
    Rebase,
    /// They are made again from a corrected recipe.
    Regenerate,
}

/// How a target's job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The verdict.
    pub outcome: Outcome,
    /// The stable code of its end.
    pub code: String,
    /// What tells failures with this code apart, where something does: a cluster's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// What it used.
    #[serde(default)]
    pub spent: Spent,
}

/// What somebody wants of a fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Jobs were made for so many planned targets. Legal within what [`admissible`] says.
    Admitted {
        /// Their ring.
        ring: u16,
        /// How many.
        count: u32,
    },
    /// The job of an admitted target ended. Legal while one of that ring runs, in every phase.
    JobEnded {
        /// The target's ring.
        ring: u16,
        /// How it ended.
        end: End,
    },
    /// A job is about to open a change: a new one, not more of one that is there. Legal while the pace allows
    /// it; otherwise it may ask again later.
    OpenChange {
        /// The target's ring.
        ring: u16,
        /// The forge's host.
        forge: String,
        /// Whether it was verified before it was opened.
        verified: bool,
    },
    /// A change stands otherwise than before. Legal after the end of the fleet too.
    Moved {
        /// The target's ring.
        ring: u16,
        /// How it stood.
        from: Change,
        /// How it stands.
        to: Change,
    },
    /// A forge asks to be left alone.
    ForgeWaits {
        /// Its host.
        forge: String,
        /// Until when.
        until: Time,
    },
    /// Nothing more is admitted until somebody says so; what runs goes on.
    Pause {
        /// Who.
        by: By,
        /// Why.
        reason: String,
    },
    /// Goes on. After a stop by a rule, the rules begin to count anew.
    Resume {
        /// Who.
        by: By,
    },
    /// Stops for good.
    Cancel {
        /// Who.
        by: By,
        /// Why.
        reason: String,
    },
    /// Plans failed targets again.
    Retry {
        /// Which.
        which: Which,
        /// What their new jobs are told beside the old task.
        instruction: Option<String>,
        /// Who asks.
        by: By,
    },
    /// Opens the next ring though something is unmet.
    Advance {
        /// Who.
        by: By,
        /// Why.
        reason: String,
    },
    /// Something is about to be done to many changes.
    Operate {
        /// What.
        what: What,
        /// To how many.
        of: u32,
        /// Who asked.
        by: By,
    },
    /// It came so much further.
    Progress {
        /// The operation's number.
        number: u32,
        /// With how many more it went well.
        done: u32,
        /// With how many more it went badly.
        failed: u32,
    },
    /// Time may have passed. Always legal; often yields nothing.
    Watch,
}

/// What happened to a fleet. The journal's content: variants are only ever added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// It was opened, with all its targets planned.
    Opened {
        /// How it is to go.
        plan: Plan,
        /// How many targets each ring has.
        rings: Vec<u32>,
        /// Who asked.
        by: By,
    },
    /// Targets were admitted.
    Admitted {
        /// Their ring.
        ring: u16,
        /// How many.
        count: u32,
    },
    /// The job of a target ended.
    JobEnded {
        /// The target's ring.
        ring: u16,
        /// How it ended.
        outcome: Outcome,
        /// What it is counted as unless it ended well: the row must bear it, so that [`Which::Kind`] finds
        /// the row again.
        kind: Option<String>,
        /// Whose trouble it is, likewise.
        trouble: Option<Trouble>,
        /// What it used.
        spent: Spent,
    },
    /// A change was opened.
    ChangeOpened {
        /// The target's ring.
        ring: u16,
        /// The forge's host.
        forge: String,
        /// Whether it was verified.
        verified: bool,
    },
    /// A change stands otherwise.
    Moved {
        /// The target's ring.
        ring: u16,
        /// How it stood.
        from: Change,
        /// How it stands.
        to: Change,
    },
    /// A forge asked to be left alone.
    ForgeWaits {
        /// Its host.
        forge: String,
        /// Until when.
        until: Time,
    },
    /// Somebody paused it.
    Paused {
        /// Who.
        by: By,
        /// Why.
        reason: String,
    },
    /// A rule stopped it.
    Stopped {
        /// The rule's place in the plan, from 0.
        rule: u16,
        /// How many were bad.
        bad: u32,
        /// Of how many.
        of: u32,
        /// Why, for a person.
        reason: String,
    },
    /// Somebody let it go on.
    Resumed {
        /// Who.
        by: By,
    },
    /// Somebody stopped it for good.
    Cancelled {
        /// Who.
        by: By,
        /// Why.
        reason: String,
    },
    /// Failed targets are planned again: the store moves those rows.
    Retried {
        /// Which.
        which: Which,
        /// What their new jobs are told.
        instruction: Option<String>,
        /// Who asked.
        by: By,
        /// How many targets.
        count: u32,
    },
    /// The next ring is open.
    RingOpened {
        /// Which.
        ring: u16,
        /// Who opened it by hand; absent if the ring before was healthy.
        by: Option<By>,
        /// Why, where somebody did.
        reason: Option<String>,
    },
    /// Something is being done to many changes.
    Operated {
        /// Its number.
        number: u32,
        /// What.
        what: What,
        /// To how many.
        of: u32,
        /// Who asked.
        by: By,
    },
    /// It came so much further.
    Progressed {
        /// The operation's number.
        number: u32,
        /// With how many more it went well.
        done: u32,
        /// With how many more it went badly.
        failed: u32,
    },
    /// The job of every target has ended.
    Settled,
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// The fleet was cancelled.
    #[error("the fleet was cancelled")]
    Cancelled,
    /// No more may be admitted now, or not from that ring.
    #[error("{why}: {room} of ring {ring} may be begun now")]
    NoRoom {
        /// The ring from which some may be admitted.
        ring: u16,
        /// How many.
        room: u32,
        /// Why no more, for a person.
        why: String,
    },
    /// Not yet: ask again then.
    #[error("{why}")]
    NotBefore {
        /// When.
        until: Time,
        /// Why, for a person.
        why: String,
    },
    /// The command does not fit the fleet's state.
    #[error("{why}")]
    Illegal {
        /// Why, for a person.
        why: String,
    },
}

/// The first event of a fleet. `rings` has the number of targets of each ring of the plan, as
/// [`Plan::allot`] puts them.
///
/// # Errors
/// The plan's first fault, or counts that don't fit its rings.
pub fn create(plan: Plan, rings: Vec<u32>, by: By) -> Result<Event, plan::Invalid> {
    plan.check()?;
    let all = rings.iter().try_fold(0_u32, |all, ring| all.checked_add(*ring));
    if rings.len() != plan.rollout.rings.len() || all.is_none() {
        return Err(plan::Invalid {
            field: "rollout.rings".to_owned(),
            why: format!(
                "the plan has {} rings: give the number of targets of each, {} at most in all",
                plan.rollout.rings.len(),
                u32::MAX
            ),
        });
    }
    Ok(Event::Opened { plan, rings, by })
}
