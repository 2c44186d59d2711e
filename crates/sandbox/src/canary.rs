//! Canaries: small attacks that are tried inside an environment to see whether they are stopped.
//!
//! A canary runs as a child of the environment's first process, confined exactly like a program; it
//! executes nothing and leaves nothing behind. `doctor` and the tests use the same ones, so that a
//! report cannot drift from what is true.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::kernel;

/// One attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Canary {
    /// Write a file.
    Write(PathBuf),
    /// Read a file or list a folder.
    Read(PathBuf),
    /// Connect to an address by TCP.
    Connect(SocketAddr),
    /// Connect to a Unix socket.
    ConnectUnix(PathBuf),
    /// Open a socket of another family (its number), such as 40 for vsock.
    SocketFamily(i32),
    /// Mount a memory file system.
    Mount,
    /// Make a user namespace by `unshare`.
    UserNamespace,
    /// Make a user namespace by `clone`.
    CloneUserNamespace,
    /// Attach to the environment's first process.
    Trace,
    /// Read the memory of the environment's first process.
    ReadMemory,
    /// Become root.
    BecomeRoot,
    /// Hold any capability.
    HoldCapability,
    /// See any process but the environment's own.
    SeeProcesses,
    /// See any network interface but `lo`.
    SeeInterfaces,
    /// Call a system call by number with all arguments 0; stopped means that it is refused with EPERM
    /// or ENOSYS.
    SystemCall(i64),
    /// Push a character into a terminal's input.
    PushTerminalInput,
}

/// How an attack ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether it was stopped.
    pub stopped: bool,
    /// What was seen.
    pub detail: String,
}

impl Outcome {
    fn stopped(detail: impl Into<String>) -> Self {
        Self { stopped: true, detail: detail.into() }
    }

    fn succeeded(detail: impl Into<String>) -> Self {
        Self { stopped: false, detail: detail.into() }
    }

    fn of<T>(result: std::io::Result<T>, success: &str) -> Self {
        match result {
            Ok(_) => Self::succeeded(success),
            Err(error) => Self::stopped(error.to_string()),
        }
    }
}

/// Every system call that environments are refused, with the reason: the deny-list as data.
pub fn refused_calls() -> impl Iterator<Item = (i64, &'static str)> {
    crate::seccomp::REFUSED.iter().chain(crate::seccomp::UNKNOWN).copied()
}

/// Tries the attack in this very process.
pub(crate) fn attempt(canary: &Canary) -> Outcome {
    match canary {
        Canary::Write(path) => write(path),
        Canary::Read(path) => read(path),
        Canary::Connect(address) => Outcome::of(
            TcpStream::connect_timeout(address, Duration::from_secs(2)),
            "the connection was accepted",
        ),
        Canary::ConnectUnix(path) => {
            Outcome::of(UnixStream::connect(path), "the connection was accepted")
        }
        Canary::SocketFamily(family) => {
            Outcome::of(kernel::try_socket(*family), "the socket was opened")
        }
        Canary::Mount => Outcome::of(kernel::try_mount(), "it was mounted"),
        Canary::UserNamespace => Outcome::of(kernel::try_unshare_user(), "it was made"),
        Canary::CloneUserNamespace => Outcome::of(kernel::try_clone_user(), "it was made"),
        Canary::Trace => Outcome::of(kernel::try_attach(1), "it was attached to"),
        Canary::ReadMemory => Outcome::of(read_memory(), "its memory was read"),
        Canary::BecomeRoot => Outcome::of(kernel::try_become_root(), "this process is root now"),
        Canary::HoldCapability => capabilities(),
        Canary::SeeProcesses => processes(),
        Canary::SeeInterfaces => interfaces(),
        Canary::SystemCall(number) => system_call(*number),
        Canary::PushTerminalInput => terminal_input(),
    }
}

fn write(path: &Path) -> Outcome {
    let existed = path.exists();
    let result = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(b""));
    if result.is_ok() && !existed {
        let _removed = std::fs::remove_file(path);
    }
    Outcome::of(result, "it was opened for writing")
}

fn read(path: &Path) -> Outcome {
    if path.is_dir() {
        return match std::fs::read_dir(path) {
            Ok(entries) => match entries.count() {
                0 => Outcome::stopped("the folder is empty"),
                count => Outcome::succeeded(format!("the folder has {count} entries")),
            },
            Err(error) => Outcome::stopped(error.to_string()),
        };
    }
    let mut byte = [0];
    match std::fs::File::open(path).and_then(|mut file| file.read(&mut byte)) {
        Ok(0) => Outcome::stopped("the file is empty"),
        Ok(_) => Outcome::succeeded("it was read"),
        Err(error) => Outcome::stopped(error.to_string()),
    }
}

fn read_memory() -> std::io::Result<()> {
    std::fs::File::open("/proc/1/mem")?;
    std::fs::read("/proc/1/environ").map(drop)
}

fn capabilities() -> Outcome {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let held: Vec<&str> = status
        .lines()
        .filter(|line| line.starts_with("Cap"))
        .filter(|line| {
            line.split_whitespace().nth(1).is_none_or(|set| set.bytes().any(|b| b != b'0'))
        })
        .collect();
    if status.is_empty() {
        Outcome::succeeded("/proc/self/status cannot be read, so nothing is known")
    } else if held.is_empty() {
        Outcome::stopped("every capability set is empty")
    } else {
        Outcome::succeeded(held.join(", "))
    }
}

/// This process's parent is the environment's first process, so that one must be number 1, and nothing
/// else may be without a parent: the host's process table has at least its kernel threads beside it.
fn processes() -> Outcome {
    let table = crate::processes::all();
    let strangers: Vec<i32> = table
        .iter()
        .filter(|(pid, parent)| *parent == 0 && *pid != 1)
        .map(|(pid, _)| *pid)
        .collect();
    let parent = std::os::unix::process::parent_id();
    if table.is_empty() {
        Outcome::succeeded("/proc cannot be listed, so nothing is known")
    } else if parent != 1 || !strangers.is_empty() {
        Outcome::succeeded(format!(
            "the first process is {parent}; {strangers:?} are there as well"
        ))
    } else {
        Outcome::stopped("only the environment's own processes are there")
    }
}

fn interfaces() -> Outcome {
    let Ok(table) = std::fs::read_to_string("/proc/self/net/dev") else {
        return Outcome::succeeded("/proc/self/net/dev cannot be read, so nothing is known");
    };
    let others: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .filter(|name| *name != "lo")
        .collect();
    if others.is_empty() {
        Outcome::stopped("only lo is there")
    } else {
        Outcome::succeeded(format!("there are {}", others.join(", ")))
    }
}

fn system_call(number: i64) -> Outcome {
    match kernel::try_system_call(number) {
        Ok(()) => Outcome::succeeded("it was carried out"),
        Err(error) => match error.raw_os_error() {
            Some(libc::EPERM | libc::ENOSYS) => Outcome::stopped(error.to_string()),
            _ => Outcome::succeeded(format!("it was looked at: {error}")),
        },
    }
}

fn terminal_input() -> Outcome {
    Outcome::of(kernel::try_push_terminal_input(), "a character was pushed")
}
