//! How an environment came to be: where its time went, what had been made before, and what would have
//! helped. Told by the runner; kept so that a person can ask why a start was slow.

use serde::{Deserialize, Serialize};

use crate::class::Limited;

/// How many starts of a job are kept.
pub(super) const KEPT: usize = 8;
/// How many stages of one are kept, and how long their names may be.
const STAGES: usize = 32;
const NAME: usize = 64;
/// How many characters of the words about a limit are kept.
const HOW: usize = 400;
/// A set-up longer than this, in microseconds, is worth a prebuild.
const LONG_SETUP: u64 = 1_000_000;

/// The name of the stage in which the definition's commands and services did their part.
pub const SET_UP: &str = "set-up";

/// One start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// What was there before it began.
    pub from: Basis,
    /// Why none was taken from the pool; absent if one was.
    pub missed: Option<Missed>,
    /// Its parts in order, each with its time in microseconds.
    pub stages: Vec<(String, u64)>,
    /// What the pool held for starts like this when it was asked.
    pub pool: Option<Shelf>,
    /// What it got of what its class says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limited>,
}

/// What was there before a start began, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// An environment that was started ahead.
    Pool,
    /// A snapshot of an environment in which the prebuild was done.
    Snapshot,
    /// The work tree at the commit.
    Tree,
    /// At most the mirror of the repository.
    Mirror,
}

/// Why none was taken from the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// The runner keeps none ahead.
    Off,
    /// Nobody asked for one like it before, or not lately: another commit, definition or host makes
    /// another environment.
    New,
    /// All of them were taken.
    Empty,
    /// What earlier steps have done belongs to this job alone.
    Own,
}

/// What the pool knows of starts alike.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shelf {
    /// How many are ready now, this one taken off.
    pub ready: u32,
    /// How many should be: arrivals in the time that one takes to make, within the limits.
    pub wanted: u32,
    /// Microseconds between two arrivals, smoothed; absent before the second.
    pub gap: Option<u64>,
    /// Microseconds that making one takes, smoothed; absent before the first.
    pub refill: Option<u64>,
    /// How many the runner keeps ahead at most, of all kinds.
    pub most: u32,
}

impl Basis {
    /// The word of the API and the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Snapshot => "snapshot",
            Self::Tree => "tree",
            Self::Mirror => "mirror",
        }
    }
}

impl Missed {
    /// In words, for a person.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Off => "the runner starts none ahead",
            Self::New => {
                "none like it was asked for lately (commit, definition, hosts and limits all count)"
            }
            Self::Empty => "all that were ready had been taken",
            Self::Own => "the work of earlier steps is this job's alone",
        }
    }
}

impl Start {
    /// All of it, in microseconds.
    pub fn total(&self) -> u64 {
        self.stages.iter().map(|(_, micros)| micros).sum()
    }

    /// What would make the next one faster, the most first; empty if nothing that is known.
    pub fn advice(&self) -> Vec<&'static str> {
        let took =
            |name| self.stages.iter().find(|(stage, _)| stage == name).map_or(0, |(_, t)| *t);
        let mut advice = Vec::new();
        if took(SET_UP) > LONG_SETUP {
            advice.push(
                "The set-up took more than a second: what does not depend on the task belongs into \
                 onCreateCommand, updateContentCommand or a task `on: prebuild`, which snapshots keep.",
            );
        }
        if self.from == Basis::Mirror {
            advice.push(
                "The commit was not prepared yet: `windlass project set PROJECT --prebuild-on-push yes` \
                 prepares each one before anybody asks.",
            );
        }
        match self.missed {
            Some(Missed::Off) => {
                advice.push("Environments ahead are off: start the runner with --ahead 1 or more.");
            }
            Some(Missed::Empty) => advice.push(
                "More starts came at once than were ready: a higher --ahead of the runner keeps more.",
            ),
            Some(Missed::New | Missed::Own) | None => {}
        }
        advice
    }

    /// What of it is kept: a runner may say anything.
    pub(super) fn cut(&self) -> Self {
        let stages = self.stages.iter().take(STAGES);
        let clean = |name: &str| -> String {
            name.chars().filter(|c| !c.is_control()).take(NAME).collect()
        };
        let stages = stages.map(|(name, micros)| (clean(name), *micros)).collect();
        Self { stages, limits: cut_limits(&self.limits), ..self.clone() }
    }
}

/// The same of what a runner says of limits: one line each.
pub fn cut_limits(limits: &[Limited]) -> Vec<Limited> {
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(HOW).collect();
    let limits = limits.iter().take(STAGES);
    limits.map(|limited| Limited { how: clean(&limited.how), ..limited.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_what_was_slow_and_nothing_else() {
        let start = |from, missed, set_up| Start {
            from,
            missed,
            stages: vec![("claim".to_owned(), 400), (SET_UP.to_owned(), set_up)],
            pool: None,
            limits: Vec::new(),
        };
        assert_eq!(start(Basis::Pool, None, 10).advice(), Vec::<&str>::new());
        let slow = start(Basis::Mirror, Some(Missed::Empty), 2_000_000);
        let advice = slow.advice();
        assert_eq!(advice.len(), 3, "{advice:?}");
        assert!(advice[0].contains("onCreateCommand") && advice[2].contains("--ahead"));
        assert_eq!(slow.total(), 2_000_400);
    }

    #[test]
    fn what_a_runner_says_too_much_is_cut() {
        let stages = vec![("x\n".repeat(100), 1); 100];
        let limits = Vec::new();
        let start = Start { from: Basis::Tree, missed: None, stages, pool: None, limits };
        assert_eq!(start.cut().stages, vec![("x".repeat(64), 1); 32]);
    }
}
