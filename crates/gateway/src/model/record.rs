//! What is known of one call through the model door. Holds no prompt, no answer and no credential.

use serde::{Deserialize, Serialize};

use super::{route::Wire, tally::Usage};

/// One call through the model door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The call's id, as the meter knows it.
    pub call_id: String,
    /// The format.
    pub wire: Wire,
    /// The model asked for, as the client wrote it; at most 200 characters.
    pub model: String,
    /// True if the client asked for a stream.
    pub stream: bool,
    /// The HTTP status that the client got.
    pub status: u16,
    /// What was used: exact when [`Record::exact`], else the door's careful estimate.
    pub usage: Usage,
    /// True if the provider itself reported the usage of the whole call.
    pub exact: bool,
    /// From the request to the end of the answer, in microseconds.
    pub duration_us: u64,
    /// How it ended.
    pub ended: Ended,
    /// What went wrong, for a person.
    pub problem: Option<String>,
}

/// How a call through the model door ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The answer came whole.
    Complete,
    /// The provider answered with an error, which was passed on.
    Failed,
    /// The provider's answer broke off.
    Cut,
    /// The client left, or the door was stopped, before the answer was whole.
    ClientLeft,
    /// The budget did not cover it; nothing was sent.
    OverBudget,
    /// The door did not let it through, for what it asked; nothing was sent.
    Refused,
    /// The provider could not be reached, or the request could not be sent.
    Unreachable,
    /// A session file had no answer for it.
    Unexpected,
}
