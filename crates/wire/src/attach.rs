//! What crosses a stream into an environment, version 1: between whoever executes a program (the
//! command line, say) and the runner that keeps the environment. The server splices the two ends and
//! reads nothing of it.
//!
//! A stream is a connection after an HTTP/1.1 upgrade (`Upgrade:` [`PROTOCOL`]). On it there are
//! frames: four bytes of length (big-endian, of what follows), one byte of kind, the content. The
//! client begins with [`FrameKind::Open`]; the runner ends with [`FrameKind::End`]. A client that
//! goes away ends its program, unless that was given a name.

use serde::{Deserialize, Serialize};
use windlass_run::EnvironmentId;

/// The protocol's name in `Upgrade`.
pub const PROTOCOL: &str = "windlass-attach-1";
/// The most bytes of a frame, its kind included.
pub const MOST: usize = 1 << 20;

/// A stream that the server wants of a runner, which dials `GET /api/v1/runner/streams/{stream}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Names the stream. A secret of the server and the runner.
    pub stream: String,
    /// The environment that it leads into.
    pub environment_id: EnvironmentId,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// From the client, first: an [`Open`] as JSON.
    Open,
    /// From the client: input; an empty one ends the input.
    Input,
    /// From the runner: standard output.
    Output,
    /// From the runner: standard error.
    Errors,
    /// From the runner, last: an [`End`] as JSON.
    End,
}

impl FrameKind {
    /// The kind's byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Input => 2,
            Self::Output => 3,
            Self::Errors => 4,
            Self::End => 5,
        }
    }

    /// The kind of this byte; absent if there is none.
    pub fn of(byte: u8) -> Option<Self> {
        [Self::Open, Self::Input, Self::Output, Self::Errors, Self::End]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// What the client wants: a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The program and its arguments, exact.
    pub argv: Vec<String>,
    /// Variables beside those that every program of the environment has.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Where it begins; absent: in the work tree. A relative one begins there too.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Whether the client sends input.
    #[serde(default)]
    pub input: bool,
    /// The client's name for this operation: the same one again is not executed twice but gives the
    /// output and the end of the first. Not with input.
    #[serde(default)]
    pub operation: Option<String>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    /// By itself, with this code.
    Exited {
        /// 0 to 255.
        code: i32,
    },
    /// By a signal.
    Signalled {
        /// Its number.
        signal: i32,
        /// Whether the environment's memory was used up.
        out_of_memory: bool,
    },
    /// It could not be executed.
    NotStarted {
        /// Why, for a person.
        why: String,
    },
    /// The environment stopped, or there is none that runs.
    Lost {
        /// Why, for a person.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_byte_and_no_other_byte_is_one() {
        let found: Vec<u8> = (0..=255).filter_map(FrameKind::of).map(FrameKind::byte).collect();
        assert_eq!(found, [1, 2, 3, 4, 5]);
    }
}
