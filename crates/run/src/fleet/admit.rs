//! How many targets may be begun now, from which ring, and if none, why and until when.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Time,
    fleet::{Hold, Phase, State, Unmet, health},
};

/// What may be begun now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// From which ring.
    pub ring: u16,
    /// At most how many.
    pub count: u32,
    /// Why no more; absent if all that are left of the ring may be begun.
    pub why: Option<Why>,
    /// When to look again, if nothing else happens: then time alone may have made something possible.
    pub next_at: Option<Time>,
}

/// Why no more may be begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    /// Somebody or a rule holds it.
    Held(Hold),
    /// It was cancelled.
    Cancelled,
    /// All jobs have ended.
    Settled,
    /// All of the open rings are begun, and the newest lacks something.
    Ring {
        /// Which ring.
        ring: u16,
        /// What it lacks.
        unmet: Vec<Unmet>,
    },
    /// As many jobs run as may at once.
    Parallel {
        /// How many that is.
        most: u32,
    },
    /// As many jobs run as may open changes within an hour.
    Pace {
        /// How many that is.
        most: u32,
    },
    /// As many changes are or may come to be open as reviewers can take.
    OpenChanges {
        /// How many that is.
        most: u32,
    },
    /// The tokens are used, or what runs is likely to use the rest.
    Tokens {
        /// How many there were.
        most: u64,
    },
    /// The money is spent, or what runs is likely to spend the rest.
    Money {
        /// How much there was, in millionths of a US dollar.
        most: u64,
    },
}

/// How many targets may be begun now.
pub fn admissible(state: &State, now: Time) -> Admission {
    let nothing = |why| Admission { ring: state.ring, count: 0, why: Some(why), next_at: None };
    match &state.phase {
        Phase::Going => {}
        Phase::Settled { .. } => return nothing(Why::Settled),
        Phase::Cancelled(_) => return nothing(Why::Cancelled),
    }
    if let Some(hold) = &state.hold {
        return nothing(Why::Held(hold.clone()));
    }
    let open = state.rings.iter().take(usize::from(state.ring) + 1);
    let Some((ring, planned)) =
        (0_u16..).zip(open).map(|(n, ring)| (n, ring.planned)).find(|(_, planned)| *planned > 0)
    else {
        let unmet = state.unmet(state.ring, now);
        let next_at = unmet.iter().map(Unmet::until).collect::<Option<Vec<_>>>();
        let next_at = next_at.and_then(|times| times.into_iter().max());
        return Admission { next_at, ..nothing(Why::Ring { ring: state.ring, unmet }) };
    };
    let tightest = state.rooms().into_iter().min_by_key(|(room, _)| *room);
    let (count, why) = match tightest {
        Some((room, why)) if room < planned => (room, Some(why)),
        Some(_) | None => (planned, None),
    };
    let next_at = state.waits.values().filter(|until| **until > now).min().copied();
    Admission { ring, count, why, next_at }
}

impl State {
    /// How many jobs run.
    pub fn running(&self) -> u32 {
        self.rings.iter().map(|ring| ring.running).sum()
    }

    /// How many more each limit leaves room for.
    fn rooms(&self) -> Vec<(u32, Why)> {
        let (limits, running) = (&self.plan.limits, self.running());
        let unmerged: u32 = self.rings.iter().map(|ring| ring.changes.unmerged()).sum();
        let mut rooms = Vec::new();
        if let Some(most) = limits.parallel {
            rooms.push((most.saturating_sub(running), Why::Parallel { most }));
        }
        if let Some(most) = limits.changes_per_hour {
            rooms.push((most.saturating_sub(running), Why::Pace { most }));
        }
        if let Some(most) = limits.open_changes {
            let taken = unmerged.saturating_add(running);
            rooms.push((most.saturating_sub(taken), Why::OpenChanges { most }));
        }
        if let Some(most) = limits.tokens {
            rooms.push((self.affordable(most, self.spent.tokens), Why::Tokens { most }));
        }
        if let Some(most) = limits.micro_usd {
            rooms.push((self.affordable(most, self.spent.micro_usd), Why::Money { most }));
        }
        rooms
    }

    /// How many more jobs what is left is likely to pay for, by the mean of those that ended. Before the
    /// first has ended nothing is known: one may run.
    fn affordable(&self, most: u64, spent: u64) -> u32 {
        let left = most.saturating_sub(spent);
        let mean = match self.jobs_ended {
            0 => left,
            ended => spent.div_ceil(u64::from(ended)),
        };
        let jobs = if left == 0 { 0 } else { left.checked_div(mean).unwrap_or(u64::MAX) };
        u32::try_from(jobs).unwrap_or(u32::MAX).saturating_sub(self.running())
    }
}

/// In words, for a person.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(hold) if hold.by.is_some() => write!(f, "paused: {}", hold.reason),
            Self::Held(hold) => write!(f, "stopped by a rule: {}", hold.reason),
            Self::Cancelled => f.write_str("the fleet was cancelled"),
            Self::Settled => f.write_str("all jobs have ended"),
            Self::Ring { ring, unmet } => {
                write!(f, "ring {} is not healthy yet: {}", ring + 1, health::in_words(unmet))
            }
            Self::Parallel { most } => write!(f, "{most} jobs may run at once"),
            Self::Pace { most } => write!(f, "{most} changes may be opened within an hour"),
            Self::OpenChanges { most } => {
                write!(f, "{most} changes may be open at once: review, merge or close some")
            }
            Self::Tokens { most } => {
                write!(f, "the {most} tokens of the fleet are used or spoken for")
            }
            Self::Money { most } => {
                let (dollars, cents) = (most / 1_000_000, most % 1_000_000 / 10_000);
                write!(
                    f,
                    "the {dollars}.{cents:02} US dollars of the fleet are spent or spoken for"
                )
            }
        }
    }
}
