//! Which runs an event descends from: what stops automations that wake themselves or each other for
//! ever, and what a person follows to see who woke whom.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{EventId, RunId};

/// The runs that an event descends from, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ancestry(Vec<Link>);

/// One generation: a run and the event that caused it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The event that started the run.
    pub event_id: EventId,
    /// The run.
    pub run_id: RunId,
    /// The name of its automation; empty for a task.
    pub automation: String,
}

/// Why an automation may not be woken by an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loop {
    /// It descends from a run of the same automation: the names from that one on, and itself at the
    /// end.
    Cycle(Vec<String>),
    /// The chain is longer than allowed.
    TooDeep {
        /// The names of the chain.
        chain: Vec<String>,
        /// How many generations are allowed.
        most: usize,
    },
}

impl Ancestry {
    /// Whether it came from outside.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The generations, the oldest first.
    pub fn links(&self) -> &[Link] {
        &self.0
    }

    /// The ancestry of what a run causes.
    #[must_use]
    pub fn with(&self, link: Link) -> Self {
        let mut links = self.0.clone();
        links.push(link);
        Self(links)
    }

    /// Why this automation may not be woken; absent if it may. `most` is how many generations may come
    /// before it. A cycle is told before a depth: it says more.
    pub fn forbids(&self, automation: &str, most: usize) -> Option<Loop> {
        let names = |from: usize| -> Vec<String> {
            let names = self.0[from..].iter().map(|link| link.automation.clone());
            names.chain([automation.to_owned()]).collect()
        };
        let before = self.0.iter().rposition(|link| link.automation == automation);
        match before {
            Some(at) => Some(Loop::Cycle(names(at))),
            None if self.0.len() > most => Some(Loop::TooDeep { chain: names(0), most }),
            None => None,
        }
    }
}

impl fmt::Display for Loop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cycle(names) => write!(
                formatter,
                "it would wake itself: {}. Let a filter leave out what it causes",
                names.join(" → ")
            ),
            Self::TooDeep { chain, most } => write!(
                formatter,
                "more than {most} runs came one from another: {}. Let a filter end the chain, or \
                 allow a longer one",
                chain.join(" → ")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Time;

    fn chain(names: &[&str]) -> Ancestry {
        names.iter().enumerate().fold(Ancestry::default(), |ancestry, (n, name)| {
            let at = Time::from_micros(1);
            ancestry.with(Link {
                event_id: EventId::new(at, n as u128),
                run_id: RunId::new(at, n as u128),
                automation: (*name).to_owned(),
            })
        })
    }

    #[test]
    fn an_automation_that_would_wake_itself_is_told_the_cycle() {
        let cycle = chain(&["intake", "fix", "verify"]).forbids("fix", 10).expect("forbidden");
        assert_eq!(
            cycle.to_string(),
            "it would wake itself: fix → verify → fix. Let a filter leave out what it causes"
        );
    }

    #[test]
    fn a_chain_ends_at_the_depth_that_is_allowed() {
        assert_eq!(chain(&["a", "b"]).forbids("c", 2), None);
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        let deep = Loop::TooDeep { chain: [names, vec!["d".to_owned()]].concat(), most: 2 };
        assert_eq!(chain(&["a", "b", "c"]).forbids("d", 2), Some(deep));
    }

    #[test]
    fn nothing_from_outside_is_forbidden() {
        assert_eq!(chain(&[]).forbids("a", 0), None);
    }
}
