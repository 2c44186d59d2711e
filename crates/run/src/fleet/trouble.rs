//! Whose trouble a failure is: the code of a job's end says what broke, this says who can do something
//! about it. Told apart so that a host that is down is not taken for a recipe that is wrong.

use serde::{Deserialize, Serialize};

use crate::job::Outcome;

/// Whose trouble a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// The recipe's: commands failed, tests or verifiers are red.
    Red,
    /// The repository's: it moved on, and the change does not fit any more.
    Conflict,
    /// The far side's: the repository could not be read or written.
    Unreachable,
    /// The task's: the agent said honestly that it can't be done like this.
    GaveUp,
    /// The limits': time, tokens, money, memory, disk.
    Limit,
    /// Ours: an environment that could not be made, a runner that was lost.
    Platform,
    /// Nobody's: somebody stopped it.
    Stopped,
    /// Unknown.
    Other,
}

impl Trouble {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Red,
        Self::Conflict,
        Self::Unreachable,
        Self::GaveUp,
        Self::Limit,
        Self::Platform,
        Self::Stopped,
        Self::Other,
    ];

    /// Whose trouble an end is; absent if it is none.
    pub fn of(outcome: Outcome, code: &str) -> Option<Self> {
        match outcome {
            Outcome::Succeeded | Outcome::Skipped => None,
            Outcome::GaveUp => Some(Self::GaveUp),
            Outcome::Cancelled => Some(Self::Stopped),
            Outcome::Failed => Some(Self::of_code(code)),
        }
    }

    fn of_code(code: &str) -> Self {
        match code {
            "step_failed" | "exit_code" | "command" | "output" | "verify_failed"
            | "tests_failed" | "checks_failed" | "until" => Self::Red,
            "conflict" | "merge_conflict" | "push_rejected" | "branch_moved" | "branch_taken" => {
                Self::Conflict
            }
            "repository" | "repository_access" | "repository_empty" | "branch_missing"
            | "unreachable" | "forge" => Self::Unreachable,
            "duration" | "timeout" | "tokens" | "cost" | "budget" | "out_of_memory"
            | "out_of_processes" | "disk_limit" => Self::Limit,
            "layer_missing" | "lease_lost" | "environment" | "environment_failed" | "runner"
            | "runner_disk" | "fork" | "service_not_ready" | "agent_missing" => Self::Platform,
            _ => Self::Other,
        }
    }

    /// The word of the API and the automation file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Conflict => "conflict",
            Self::Unreachable => "unreachable",
            Self::GaveUp => "gave_up",
            Self::Limit => "limit",
            Self::Platform => "platform",
            Self::Stopped => "stopped",
            Self::Other => "other",
        }
    }

    /// In words, for a person.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Red => "tests or commands are red",
            Self::Conflict => "the repository moved on",
            Self::Unreachable => "the repository could not be reached",
            Self::GaveUp => "the agent gave up",
            Self::Limit => "a limit was reached",
            Self::Platform => "the environment failed",
            Self::Stopped => "somebody stopped it",
            Self::Other => "something else",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn red_tests_conflicts_and_unreachable_hosts_are_three_troubles() {
        let of = |code| Trouble::of(Outcome::Failed, code);
        assert_eq!(of("verify_failed"), Some(Trouble::Red));
        assert_eq!(of("merge_conflict"), Some(Trouble::Conflict));
        assert_eq!(of("repository"), Some(Trouble::Unreachable));
        assert_eq!(of("never heard of"), Some(Trouble::Other));
    }

    #[test]
    fn what_ended_well_or_by_hand_is_no_failure() {
        assert_eq!(Trouble::of(Outcome::Succeeded, "done"), None);
        assert_eq!(Trouble::of(Outcome::Skipped, "repository"), None);
        assert_eq!(Trouble::of(Outcome::Cancelled, "cancelled"), Some(Trouble::Stopped));
        assert_eq!(Trouble::of(Outcome::GaveUp, "agent_gave_up"), Some(Trouble::GaveUp));
    }

    #[test]
    fn each_word_is_the_one_of_the_file() {
        for trouble in Trouble::ALL {
            let json = serde_json::to_string(&trouble).expect("JSON");
            assert_eq!(json, format!("\"{}\"", trouble.name()));
        }
    }
}
