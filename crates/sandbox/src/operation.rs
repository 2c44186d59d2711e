//! One operation in an environment: what shall be executed, and what has become of it.
//!
//! Data only. Arguments are bytes, never a shell line: what the caller gives is what the program gets.

use std::{ffi::OsString, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::OperationId;

/// A program to execute. Repeating it with the same operation id never executes twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// The caller's name for this operation, unique within the environment.
    pub operation: OperationId,
    /// The program and its arguments, exact. A program without `/` is looked up in `PATH` of `env`.
    #[serde(with = "bytes_list")]
    pub argv: Vec<OsString>,
    /// The whole environment of the program; nothing is inherited. `HOME`, `USER`, `LOGNAME` and `PATH`
    /// are filled in where they are missing.
    #[serde(with = "bytes_pairs")]
    pub env: Vec<(OsString, OsString)>,
    /// The working folder inside.
    pub cwd: PathBuf,
    /// Where input comes from and output goes.
    pub io: Io,
}

/// Where a program's input comes from and its output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Io {
    /// Input is empty; output is written to a spool file on the host (see [`crate::spool`]) that outlives
    /// the caller. After `limit_bytes` of output the rest is counted and dropped; the program goes on.
    Capture {
        /// How many bytes of output are kept.
        limit_bytes: u64,
    },
    /// Input, output and error output are pipes handed to the caller. When the caller's connection ends,
    /// the operation is killed.
    Pipes,
    /// The program has a terminal, made inside, as input, output and error output, and begins the session
    /// that it controls. The caller gets pipes: what it writes is typed, what it reads was shown; the one
    /// for errors stays empty. Closing the first one hangs up. When the caller's connection ends, the
    /// operation is killed.
    Terminal {
        /// How large it is at first; see [`crate::Client::resize`].
        size: Size,
    },
}

/// How large a terminal is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// From left to right.
    pub columns: u16,
    /// From top to bottom.
    pub rows: u16,
}

/// What has become of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Where it stands.
    pub state: State,
    /// Bytes in the spool file, frames included; 0 unless output is captured.
    pub spool_bytes: u64,
    /// Bytes of output that came after the limit and were dropped.
    pub dropped_bytes: u64,
    /// Whether the kernel refused a process while it ran, because the environment's limit was reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out_of_processes: bool,
}

/// Where an operation stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has not ended.
    Running,
    /// The program ended by itself with this code.
    Exited {
        /// 0 to 255.
        code: i32,
    },
    /// The program was ended by a signal.
    Signalled {
        /// The signal's number.
        signal: i32,
        /// Whether the kernel ended it, or a program of a shell that says so by its code 137, because the environment's memory limit was reached.
        out_of_memory: bool,
    },
    /// The program could not be started at all.
    NotStarted {
        /// What the kernel answered, with the name that was looked up.
        why: String,
    },
    /// The program's keeper was destroyed from inside the environment, or could not end the program's
    /// children; everything that belonged to it was killed.
    Lost {
        /// What happened.
        why: String,
    },
}

impl State {
    /// Whether nothing more will happen.
    pub fn has_ended(&self) -> bool {
        !matches!(self, Self::Running)
    }

    /// Whether the program ended by itself with code 0.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }
}

impl Exec {
    /// An operation whose output is captured up to 64 MiB, in the environment's home folder.
    pub fn capture<A: Into<OsString>>(
        operation: OperationId,
        argv: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            operation,
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: PathBuf::from(crate::plan::HOME),
            io: Io::Capture { limit_bytes: 64 << 20 },
        }
    }

    /// The same operation with pipes.
    #[must_use]
    pub fn with_pipes(mut self) -> Self {
        self.io = Io::Pipes;
        self
    }

    /// The same operation with a terminal.
    #[must_use]
    pub fn with_terminal(mut self, columns: u16, rows: u16) -> Self {
        self.io = Io::Terminal { size: Size { columns, rows } };
        self
    }

    /// The same operation in another folder.
    #[must_use]
    pub fn in_folder(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = cwd.into();
        self
    }

    /// The same operation with one more environment variable.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// Bytes as JSON: text where it is valid UTF-8, else a list of numbers.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Raw(Vec<u8>),
}

impl From<&OsString> for Bytes {
    fn from(text: &OsString) -> Self {
        match text.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Raw(std::os::unix::ffi::OsStringExt::into_vec(text.clone())),
        }
    }
}

impl From<Bytes> for OsString {
    fn from(bytes: Bytes) -> Self {
        match bytes {
            Bytes::Text(text) => text.into(),
            Bytes::Raw(raw) => std::os::unix::ffi::OsStringExt::from_vec(raw),
        }
    }
}

/// How `argv` crosses the socket.
mod bytes_list {
    use super::{Bytes, OsString};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        list: &[OsString],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        list.iter().map(Bytes::from).collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<OsString>, D::Error> {
        Ok(Vec::<Bytes>::deserialize(deserializer)?.into_iter().map(Into::into).collect())
    }
}

/// How `env` crosses the socket.
mod bytes_pairs {
    use super::{Bytes, OsString};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        list: &[(OsString, OsString)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        list.iter()
            .map(|(name, value)| (Bytes::from(name), Bytes::from(value)))
            .collect::<Vec<_>>()
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(OsString, OsString)>, D::Error> {
        Ok(Vec::<(Bytes, Bytes)>::deserialize(deserializer)?
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect())
    }
}
