//! What services and tasks of an environment come to, as its journal keeps it.

use serde::{Deserialize, Serialize};

use crate::Time;

/// The most characters of a name or of the words on an end that are kept.
const WORDS: usize = 200;

/// That a service ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which.
    pub name: String,
    /// When, by the runner's clock.
    pub at: Time,
    /// How, for a person.
    pub how: String,
    /// Whether it is started again.
    pub again: bool,
    /// How often it ended in a row, each time soon after it was started.
    pub in_a_row: u32,
}

impl Ended {
    /// The same with words of a length that a journal can bear.
    #[must_use]
    pub fn short(&self) -> Self {
        let cut = |text: &str| text.replace('\0', " ").chars().take(WORDS).collect::<String>();
        Self { name: cut(&self.name), how: cut(&self.how), ..self.clone() }
    }
}

/// What somebody wanted of services and tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "steer", rename_all = "snake_case")]
pub enum Steer {
    /// A service to be started.
    Start {
        /// Which.
        service: String,
    },
    /// A service to be stopped.
    Stop {
        /// Which.
        service: String,
    },
    /// A service to be stopped and started.
    Restart {
        /// Which.
        service: String,
    },
    /// A task to run.
    Run {
        /// Which.
        task: String,
    },
}
