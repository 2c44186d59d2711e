//! A run: what its jobs together say. A run has no machine of its own: it is queued until a job
//! begins, running until all have ended, and its outcome follows from theirs.

use serde::{Deserialize, Serialize};

use crate::job::Outcome;

/// How the jobs of a run stand, as counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All jobs.
    pub jobs: u32,
    /// Those that have begun, ended ones included.
    pub begun: u32,
    /// Those that ended well.
    pub succeeded: u32,
    /// Those whose agent gave up.
    pub gave_up: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were stopped.
    pub cancelled: u32,
    /// Those that had nothing to do.
    pub skipped: u32,
}

impl Tally {
    /// The tally of a run whose jobs have not begun.
    pub fn of(jobs: u32) -> Self {
        Self { jobs, ..Self::default() }
    }

    /// A job's first lease began.
    pub fn begin(&mut self) {
        self.begun += 1;
    }

    /// A job ended. `begun` says whether it had begun.
    pub fn end(&mut self, outcome: Outcome, begun: bool) {
        if !begun {
            self.begun += 1;
        }
        match outcome {
            Outcome::Succeeded => self.succeeded += 1,
            Outcome::GaveUp => self.gave_up += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Skipped => self.skipped += 1,
        }
    }

    /// How many jobs have ended.
    pub fn ended(&self) -> u32 {
        self.succeeded + self.gave_up + self.failed + self.cancelled + self.skipped
    }

    /// The run's outcome once all jobs have ended: what a person must look at first counts most.
    pub fn outcome(&self) -> Option<Outcome> {
        if self.jobs == 0 || self.ended() < self.jobs {
            return None;
        }
        Some(if self.failed > 0 {
            Outcome::Failed
        } else if self.gave_up > 0 {
            Outcome::GaveUp
        } else if self.cancelled > 0 {
            Outcome::Cancelled
        } else if self.succeeded > 0 {
            Outcome::Succeeded
        } else {
            Outcome::Skipped
        })
    }
}
