//! Exit codes: part of the interface, listed in `windlass help`.

use std::{fmt, process::ExitCode};

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Success,
    /// Something went wrong that has no code of its own.
    Failure,
    /// An argument means nothing.
    NotUnderstood,
    /// The job ended without a change because the agent gave up.
    GaveUp,
    /// The job failed.
    JobFailed,
    /// The job was cancelled.
    Cancelled,
    /// No server answers.
    NoServer,
    /// The server refused: not signed in, or not allowed.
    Refused,
    /// A check found something (`doctor`, `environment`, `automation`).
    Found,
    /// As the program that was executed (`env exec`).
    Of(u8),
}

/// The list for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0  all went well
  1  something went wrong
  2  the command line is not understood
  3  the agent gave up: there is no change, the report says why
  4  the job failed
  5  the job was cancelled
  6  no server answers
  7  the server refused: not signed in, or not allowed
  8  a check found something to mend (doctor, environment, automation)
`env exec` ends as its program does: with 128 and the signal's number if that was killed,
126 if it could not be started, 125 if the environment stopped.";

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::NotUnderstood => 2,
            Self::GaveUp => 3,
            Self::JobFailed => 4,
            Self::Cancelled => 5,
            Self::NoServer => 6,
            Self::Refused => 7,
            Self::Found => 8,
            Self::Of(code) => code,
        }
    }

    /// The exit that an error asks for.
    pub(crate) fn of(e: &anyhow::Error) -> Self {
        e.chain().find_map(|cause| cause.downcast_ref::<Marked>()).map_or(Self::Failure, |m| m.exit)
    }

    /// The exit for a job or run in this state.
    pub(crate) fn of_state(state: &str) -> Self {
        match state {
            "succeeded" | "skipped" => Self::Success,
            "gave_up" => Self::GaveUp,
            "cancelled" => Self::Cancelled,
            _ => Self::JobFailed,
        }
    }

    /// An error that ends the process this way.
    pub(crate) fn error(self, what: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Marked { exit: self, what: what.into() })
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[derive(Debug)]
struct Marked {
    exit: Exit,
    what: String,
}

impl fmt::Display for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Marked {}
