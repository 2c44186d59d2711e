//! What crosses a stream into an environment, version 1: between whoever executes a program (the
//! command line, say) and the runner that keeps the environment. The server splices the two ends and
//! reads nothing of it.
//!
//! A stream is a connection after an HTTP/1.1 upgrade (`Upgrade:` [`PROTOCOL`]). On it there are
//! frames: four bytes of length (big-endian, of what follows), one byte of kind, the content. The
//! client begins with [`FrameKind::Open`] or [`FrameKind::Dial`]; the runner ends with
//! [`FrameKind::End`]. A client that goes away ends its program, unless that was given a name; where
//! the program has a terminal, that is hung up first.

use serde::{Deserialize, Serialize};
use windlass_run::EnvironmentId;

use crate::runner::Secret;

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
    /// What a program that is executed on it is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Secret>,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// From the client, first: an [`Open`] as JSON.
    Open,
    /// From the client: input; an empty one ends the input, and hangs up a terminal.
    Input,
    /// From the runner: standard output, or what a terminal shows, or what a port says. The first of a
    /// port is empty: it is connected.
    Output,
    /// From the runner: standard error.
    Errors,
    /// From the runner, last: an [`End`] as JSON.
    End,
    /// From the client: how large its terminal is now, a [`Size`] as JSON.
    Size,
    /// From the client: a signal for the program, its number as JSON.
    Signal,
    /// From the client, first, in place of [`FrameKind::Open`]: a [`Dial`] as JSON.
    Dial,
    /// From the server, first, in place of [`FrameKind::Open`]: an [`Ask`](crate::automation::Ask) as JSON.
    Ask,
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
            Self::Size => 6,
            Self::Signal => 7,
            Self::Dial => 8,
            Self::Ask => 9,
        }
    }

    /// The kind of this byte; absent if there is none.
    pub fn of(byte: u8) -> Option<Self> {
        let all = [
            Self::Open,
            Self::Input,
            Self::Output,
            Self::Errors,
            Self::End,
            Self::Size,
            Self::Signal,
            Self::Dial,
            Self::Ask,
        ];
        all.into_iter().find(|kind| kind.byte() == byte)
    }
}

/// Content as the bytes of frames of this kind: of one at least, of more if it is long.
pub fn frames(kind: FrameKind, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len() + 5);
    let mut rest = content;
    loop {
        let (piece, more) = rest.split_at(rest.len().min(MOST - 1));
        bytes.extend_from_slice(&u32::try_from(piece.len() + 1).unwrap_or(1).to_be_bytes());
        bytes.push(kind.byte());
        bytes.extend_from_slice(piece);
        rest = more;
        if rest.is_empty() {
            return bytes;
        }
    }
}

/// What the first five bytes of a frame say: its kind, and how long its content is.
///
/// # Errors
/// Why it is no frame.
pub fn head(bytes: [u8; 5]) -> Result<(FrameKind, usize), &'static str> {
    let [a, b, c, d, kind] = bytes;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length == 0 || length > MOST {
        return Err("a frame is too long, or empty");
    }
    let kind = FrameKind::of(kind).ok_or("a frame is of an unknown kind")?;
    Ok((kind, length - 1))
}

/// What the client wants: a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The program and its arguments, exact.
    pub argv: Vec<String>,
    /// True if the program is `windlass` as it is inside, and `argv` only its arguments.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_windlass: bool,
    /// Variables beside those that every program of the environment has.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Where it begins; absent: in the work tree. A relative one begins there too.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Whether the client sends input. With a terminal it always may.
    #[serde(default)]
    pub input: bool,
    /// How large the program's terminal is; absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Size>,
    /// The client's name for this operation: the same one again is not executed twice but gives the
    /// output and the end of the first. Not with input, and not with a terminal.
    #[serde(default)]
    pub operation: Option<String>,
}

/// The shell of whoever names no program: bash where there is one.
pub const SHELL: [&str; 3] =
    ["sh", "-c", "if command -v bash >/dev/null 2>&1; then exec bash; fi; exec sh"];

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// From left to right.
    pub columns: u16,
    /// From top to bottom.
    pub rows: u16,
}

impl Default for Size {
    fn default() -> Self {
        Self { columns: 80, rows: 24 }
    }
}

/// What the client wants: a connection to a port of the environment's own loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dial {
    /// Which port.
    pub port: u16,
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
        assert_eq!(found, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
