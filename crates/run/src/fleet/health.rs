//! What a ring lacks before the next one may be opened.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Time,
    fleet::{Changes, Ring, Share, State, Trouble},
};

/// Something that is not so yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "unmet", rename_all = "snake_case")]
pub enum Unmet {
    /// Not all its jobs have ended.
    Unfinished {
        /// Not begun.
        planned: u32,
        /// Running.
        running: u32,
    },
    /// Too few jobs ended well.
    Success {
        /// How many did.
        have: u32,
        /// Of how many that had something to do.
        of: u32,
        /// What is asked for.
        wanted: Share,
    },
    /// Too few changes were verified.
    Verified {
        /// How many were.
        have: u32,
        /// Of how many.
        of: u32,
        /// What is asked for.
        wanted: Share,
    },
    /// Too few changes were approved or merged.
    Reviewed {
        /// How many were.
        have: u32,
        /// How many must be.
        wanted: u32,
    },
    /// It must stand for a while.
    Soaking {
        /// Until then.
        until: Time,
    },
}

impl Unmet {
    /// Whether time alone can change it.
    pub(super) fn until(&self) -> Option<Time> {
        match self {
            Self::Soaking { until } => Some(*until),
            Self::Unfinished { .. }
            | Self::Success { .. }
            | Self::Verified { .. }
            | Self::Reviewed { .. } => None,
        }
    }
}

impl Ring {
    /// How many targets' jobs failed, gave up or were cancelled.
    pub fn failed(&self) -> u32 {
        self.failures.values().map(|failures| failures.count).sum()
    }

    /// How many of them with that trouble.
    pub fn troubled(&self, trouble: Trouble) -> u32 {
        let alike = self.failures.values().filter(|failures| failures.trouble == trouble);
        alike.map(|failures| failures.count).sum()
    }

    /// How many targets' jobs have ended.
    pub fn ended(&self) -> u32 {
        self.succeeded + self.skipped + self.failed()
    }
}

impl Changes {
    /// All of them.
    pub fn all(&self) -> u32 {
        self.unmerged() + self.merged + self.closed
    }

    /// Neither merged nor closed.
    pub fn unmerged(&self) -> u32 {
        self.open + self.sent_back + self.approved
    }
}

impl State {
    /// What a ring lacks; nothing if it is healthy. Ended jobs that were cancelled count as not succeeded.
    pub fn unmet(&self, ring: u16, now: Time) -> Vec<Unmet> {
        let Some(ring) = self.rings.get(usize::from(ring)) else { return Vec::new() };
        let when = &self.plan.rollout.advance_when;
        let (ended, changes) = (ring.succeeded + ring.failed(), ring.changes.all());
        let reviewed = ring.changes.approved + ring.changes.merged;
        let unfinished = (ring.planned + ring.running > 0)
            .then_some(Unmet::Unfinished { planned: ring.planned, running: ring.running });
        let success = when.success.filter(|wanted| !wanted.is_reached(ring.succeeded, ended));
        let success =
            success.map(|wanted| Unmet::Success { have: ring.succeeded, of: ended, wanted });
        let verified =
            when.verified.filter(|wanted| !wanted.is_reached(ring.changes.verified, changes));
        let verified = verified.map(|wanted| Unmet::Verified {
            have: ring.changes.verified,
            of: changes,
            wanted,
        });
        let wanted = when.reviewed.map_or(0, |amount| amount.of(changes));
        let reviewed = (reviewed < wanted).then_some(Unmet::Reviewed { have: reviewed, wanted });
        let until = when.after.and_then(|after| ring.ended_at.map(|ended_at| ended_at + after));
        let soaking = until.filter(|until| now < *until).map(|until| Unmet::Soaking { until });
        [unfinished, success, verified, reviewed, soaking].into_iter().flatten().collect()
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfinished { planned, running } => {
                write!(f, "{running} jobs run and {planned} targets are not begun")
            }
            Self::Success { have, of, wanted } => {
                write!(f, "{have} of {of} jobs succeeded, {wanted} must")
            }
            Self::Verified { have, of, wanted } => {
                write!(f, "{have} of {of} changes are verified, {wanted} must be")
            }
            Self::Reviewed { have, wanted } => {
                write!(f, "{have} changes are approved or merged, {wanted} must be")
            }
            Self::Soaking { .. } => f.write_str("it must stand for a while"),
        }
    }
}

/// In words for a person, for a list of them.
pub(super) fn in_words(unmet: &[Unmet]) -> String {
    let parts: Vec<String> = unmet.iter().map(ToString::to_string).collect();
    parts.join("; ")
}
