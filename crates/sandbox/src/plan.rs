//! What an environment shall be, as data: the plan that goes in and the report that comes out.
//!
//! Nothing here touches the system. A plan says everything about an environment: the supervisor adds
//! nothing to it and takes nothing away in silence.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The name of an environment: 1 to 64 characters of `a-z A-Z 0-9 _ -`, starting with a letter or digit.
///
/// It becomes a folder and a cgroup, hence the narrow alphabet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvironmentId(String);

/// The name of one operation in an environment, chosen by the caller: the key that makes `exec`
/// idempotent. Same alphabet as [`EnvironmentId`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperationId(String);

/// Everything about one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The environment's name, unique within a supervisor.
    pub id: EnvironmentId,
    /// A folder of the host that holds an image's whole file system, as [`crate::unpack`] makes it: it
    /// appears as `/`, read-only. `None` shows the host's own system folders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Whether [`Self::root`] itself is written: it must be a copy that nothing else uses. Its files become
    /// the environment's user's, whoever that is inside: that is how images are made from images. No
    /// capability comes with it; programs that give files or themselves to another user are told that
    /// it is done, and it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub writable_root: bool,
    /// Who programs are inside; `None` is `agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// The work tree that the environment may write, and where it appears inside.
    pub work_tree: WorkTree,
    /// Further host folders and files that appear inside, always read-only.
    #[serde(default)]
    pub binds: Vec<Bind>,
    /// Paths *inside* that are hidden again after all binds: a file becomes empty, a folder becomes an
    /// empty read-only one. A path that does not exist inside is already hidden.
    #[serde(default)]
    pub masks: Vec<PathBuf>,
    /// Paths *inside* where the environment has an empty folder on disk that it may write. They are gone
    /// with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<PathBuf>,
    /// Folders of the work tree that appear at another place inside as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<Again>,
    /// Where `/tmp`, `/var/tmp` and `/dev/shm` live.
    #[serde(default)]
    pub scratch: Scratch,
    /// The loopback ports whose listening sockets are handed to the caller.
    #[serde(default)]
    pub doors: Vec<Door>,
    /// What the environment may use of the machine.
    #[serde(default)]
    pub limits: Limits,
    /// What must, and what should, be in force.
    #[serde(default)]
    pub layers: Layers,
    /// Whether a process may attach to another one of the same environment (`gdb -p`, `strace -p`, the
    /// leak sanitizer). Never reaches beyond the environment either way.
    #[serde(default)]
    pub allow_ptrace: bool,
    /// The host name inside; `windlass` when empty.
    #[serde(default)]
    pub host_name: String,
    /// Further names of hosts that mean the environment itself: of what runs beside it in its network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// Who programs are inside. Outside it is the same nobody whatever the name, and root inside holds no
/// capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name.
    pub name: String,
    /// The user's number.
    pub uid: u32,
    /// The number of the user's group.
    pub gid: u32,
    /// The home folder inside: the environment's own, on disk.
    pub home: PathBuf,
}

impl User {
    /// Root, at home in `/root`.
    pub fn root() -> Self {
        Self { name: "root".to_owned(), uid: 0, gid: 0, home: PathBuf::from("/root") }
    }
}

/// The one host folder that an environment may write.
///
/// As root the folder's content is given to the environment's own user (see
/// `docs/decisions/0002-environment-identity.md`); files with more than one hard link are left alone, so
/// that objects borrowed from a mirror by hard link stay unwritable. The caller therefore reads the
/// tree with a git that accepts a foreign owner (`safe.directory`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkTree {
    /// Absolute path on the host; must exist and be a folder.
    pub host: PathBuf,
    /// Absolute path inside, usually `/workspace/<name>`.
    pub inside: PathBuf,
}

/// A folder of the work tree that appears at another place inside as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Again {
    /// Its plain path in the work tree. It must be there when the environment is made.
    pub below: PathBuf,
    /// Absolute path inside.
    pub inside: PathBuf,
    /// Whether it can't be written there.
    #[serde(default)]
    pub read_only: bool,
}

/// A host folder or file that appears inside, read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// Absolute path on the host. Symbolic links are followed.
    pub host: PathBuf,
    /// Absolute path inside.
    pub inside: PathBuf,
    /// Leave it out without complaint when the host path does not exist.
    #[serde(default)]
    pub optional: bool,
}

/// Where scratch folders live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scratch {
    /// In memory, at most this many bytes in all.
    Memory {
        /// The size limit in bytes, shared by all scratch folders.
        bytes: u64,
    },
    /// On disk under the environment's own folder (`/dev/shm` stays in memory).
    Disk,
}

/// A listening loopback port inside, served by the caller from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Door {
    /// The door's name, unique within the plan: `model`, `git`, `web`, ...
    pub name: String,
    /// The port on 127.0.0.1 inside; 0 lets the kernel choose.
    #[serde(default)]
    pub port: u16,
}

/// What an environment may use of the machine. `None` means no limit of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of all processes together, in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU time per second of wall time, in thousandths of one CPU (1500 = one and a half CPUs).
    pub cpu_millis: Option<u32>,
    /// Processes and threads at once.
    pub processes: Option<u32>,
    /// Open files of each process.
    pub open_files: Option<u64>,
    /// The largest file that may be written, in bytes.
    pub file_bytes: Option<u64>,
    /// Disk space of home and work tree together, in bytes. Always reported as not enforced today.
    pub disk_bytes: Option<u64>,
}

/// One thing that stands between an environment and the rest of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// An own user namespace: no id inside means anything powerful outside.
    UserNamespace,
    /// An own mount namespace: no mount of the environment is ever visible on the host.
    MountNamespace,
    /// An own process namespace: no process outside is visible, and all die with the first one.
    PidNamespace,
    /// Own System V IPC and message queues.
    IpcNamespace,
    /// An own host name.
    UtsNamespace,
    /// An own, empty network: only loopback, only the doors answer there.
    Network,
    /// Nothing of the host can be written but the work tree.
    ReadOnlyRoot,
    /// Of the host only an allow-list of system folders and the plan's binds can be seen.
    MaskedHost,
    /// No program can gain privileges (set-user-id bits are dead).
    NoNewPrivileges,
    /// No capability is held or can be had.
    Capabilities,
    /// System calls that a developer never needs and an attacker does are refused.
    Seccomp,
    /// The memory limit of the plan.
    MemoryLimit,
    /// The CPU limit of the plan.
    CpuLimit,
    /// The process limit of the plan.
    ProcessLimit,
    /// The per-process limits of the plan (open files, file size).
    FileLimits,
    /// The disk limit of the plan.
    DiskLimit,
}

/// How much a plan wants a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// Without it the environment is refused.
    Required,
    /// Used where it is to be had; the report says whether it is.
    Wanted,
    /// Not used.
    Off,
}

/// The demands of a plan. A layer that is not named has its default (see [`Layer::default_demand`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Layers(pub BTreeMap<Layer, Demand>);

/// What is truly in force in a running environment, one row per layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// One row per layer, in the order of [`Layer`].
    pub layers: Vec<Enforced>,
    /// The user id on the host that the environment's processes and files have.
    pub outside_uid: u32,
    /// The group id on the host.
    pub outside_gid: u32,
    /// The user id that processes see inside.
    pub inside_uid: u32,
    /// Files of the work tree that were left with another owner because they have several hard links.
    pub shared_files: u64,
}

/// Whether one layer is in force, and if not, why and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// The layer.
    pub layer: Layer,
    /// What the plan wanted.
    pub demand: Demand,
    /// Whether it was seen to be in force.
    pub in_force: bool,
    /// How it is enforced, or why it is not.
    pub detail: String,
    /// The one command or change that would bring it into force.
    pub remedy: Option<String>,
}

/// The user name, and the folder, of whoever works inside.
pub const USER_NAME: &str = "agent";
/// The home folder inside.
pub const HOME: &str = "/home/agent";
/// The user and group id inside, wherever a user namespace is in force.
pub const INSIDE_ID: u32 = 1000;
/// The most doors that an environment can have.
pub const MAX_DOORS: usize = 32;
/// A search path that finds the host's system programs inside.
pub const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Plan {
    /// A plan with the default layers, no limits, no doors and 1 GiB of scratch memory.
    pub fn new(
        id: EnvironmentId,
        work_tree: impl Into<PathBuf>,
        inside: impl Into<PathBuf>,
    ) -> Self {
        Self {
            id,
            root: None,
            writable_root: false,
            user: None,
            work_tree: WorkTree { host: work_tree.into(), inside: inside.into() },
            binds: Vec::new(),
            masks: Vec::new(),
            volumes: Vec::new(),
            again: Vec::new(),
            scratch: Scratch::default(),
            doors: Vec::new(),
            limits: Limits::default(),
            layers: Layers::default(),
            allow_ptrace: false,
            host_name: String::new(),
            names: Vec::new(),
        }
    }

    /// Refuses a plan that could not be built, or that would show the supervisor's own state
    /// (`state_dir`, canonical) to the environment.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] with what is wrong and what to write instead.
    pub fn check(&self, state_dir: &Path) -> Result<()> {
        inside_path(&self.work_tree.inside)?;
        absolute(&self.work_tree.host)?;
        hides(&self.work_tree.host, state_dir)?;
        if let Some(root) = &self.root {
            absolute(root)?;
            hides(root, state_dir)?;
        }
        if let Some(user) = &self.user {
            user.check()?;
        }
        if self.writable_root && self.root.is_none() {
            return Err(Error::invalid("only an image's copy can be written: name it as the root"));
        }
        for bind in &self.binds {
            inside_path(&bind.inside)?;
            absolute(&bind.host)?;
            hides(&bind.host, state_dir)?;
        }
        for path in self.masks.iter().chain(&self.volumes) {
            inside_path(path)?;
        }
        for again in &self.again {
            inside_path(&again.inside)?;
            let is_plain = again.below.components().all(|it| matches!(it, Component::Normal(_)));
            if !is_plain || again.below.as_os_str().is_empty() {
                return Err(Error::invalid(format!(
                    "{} is no plain path in the work tree",
                    again.below.display()
                )));
            }
        }
        if self.doors.len() > MAX_DOORS {
            return Err(Error::invalid(format!("there are more than {MAX_DOORS} doors")));
        }
        for (index, door) in self.doors.iter().enumerate() {
            if self.doors[..index].iter().any(|other| other.name == door.name) {
                return Err(Error::invalid(format!("door `{}` is named twice", door.name)));
            }
        }
        if self.host_name.len() > 63 || self.host_name.contains('\0') {
            return Err(Error::invalid("the host name is longer than 63 bytes or holds a NUL"));
        }
        let plain = |name: &&String| {
            (1..=63).contains(&name.len())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        };
        if let Some(name) = self.names.iter().find(|name| !plain(name)) {
            return Err(Error::invalid(format!("{name:?} is no name of a host")));
        }
        for (layer, demand) in &self.layers.0 {
            if layer.is_structural() && *demand != Demand::Required {
                return Err(Error::invalid(format!(
                    "layer `{layer}` cannot be {demand}: there is no environment without it; leave it out"
                )));
            }
        }
        Ok(())
    }
}

impl Plan {
    /// The user and group id of programs, seen from inside.
    pub fn inside_ids(&self) -> (u32, u32) {
        self.user.as_ref().map_or((INSIDE_ID, INSIDE_ID), |user| (user.uid, user.gid))
    }

    /// The home folder inside.
    pub fn home(&self) -> &Path {
        self.user.as_ref().map_or(Path::new(HOME), |user| &user.home)
    }

    /// The user's name inside.
    pub fn user_name(&self) -> &str {
        self.user.as_ref().map_or(USER_NAME, |user| &user.name)
    }
}

impl User {
    fn check(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            return Err(Error::invalid(format!("{:?} is no name of a user", self.name)));
        }
        if self.uid == u32::MAX || self.gid == u32::MAX {
            return Err(Error::invalid(format!("the user `{}` has no usable number", self.name)));
        }
        let line_ends = self.home.as_os_str().as_encoded_bytes();
        if line_ends.iter().any(|byte| matches!(byte, b':' | b'\n' | 0)) {
            return Err(Error::invalid(format!("the home of `{}` is no plain path", self.name)));
        }
        inside_path(&self.home)
    }
}

impl Layers {
    /// What is demanded of a layer.
    pub fn demand(&self, layer: Layer) -> Demand {
        self.0.get(&layer).copied().unwrap_or_else(|| layer.default_demand())
    }

    /// The same demands with one changed.
    #[must_use]
    pub fn with(mut self, layer: Layer, demand: Demand) -> Self {
        self.0.insert(layer, demand);
        self
    }
}

impl Layer {
    /// All layers, in the order of a report.
    pub const ALL: [Self; 16] = [
        Self::UserNamespace,
        Self::MountNamespace,
        Self::PidNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::Network,
        Self::ReadOnlyRoot,
        Self::MaskedHost,
        Self::NoNewPrivileges,
        Self::Capabilities,
        Self::Seccomp,
        Self::MemoryLimit,
        Self::CpuLimit,
        Self::ProcessLimit,
        Self::FileLimits,
        Self::DiskLimit,
    ];

    /// Namespaces, the empty network, the masked host, no-new-privileges, dropped capabilities and
    /// seccomp are required; limits are wanted.
    pub fn default_demand(self) -> Demand {
        match self {
            Self::UserNamespace
            | Self::MountNamespace
            | Self::PidNamespace
            | Self::IpcNamespace
            | Self::UtsNamespace
            | Self::Network
            | Self::ReadOnlyRoot
            | Self::MaskedHost
            | Self::NoNewPrivileges
            | Self::Capabilities
            | Self::Seccomp => Demand::Required,
            Self::MemoryLimit
            | Self::CpuLimit
            | Self::ProcessLimit
            | Self::FileLimits
            | Self::DiskLimit => Demand::Wanted,
        }
    }

    /// Whether an environment cannot be built without the layer, whatever the plan says.
    pub fn is_structural(self) -> bool {
        match self {
            Self::MountNamespace
            | Self::PidNamespace
            | Self::Network
            | Self::ReadOnlyRoot
            | Self::MaskedHost
            | Self::NoNewPrivileges
            | Self::Capabilities => true,
            Self::UserNamespace
            | Self::IpcNamespace
            | Self::UtsNamespace
            | Self::Seccomp
            | Self::MemoryLimit
            | Self::CpuLimit
            | Self::ProcessLimit
            | Self::FileLimits
            | Self::DiskLimit => false,
        }
    }

    /// The layer's name in plans and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::UserNamespace => "user_namespace",
            Self::MountNamespace => "mount_namespace",
            Self::PidNamespace => "pid_namespace",
            Self::IpcNamespace => "ipc_namespace",
            Self::UtsNamespace => "uts_namespace",
            Self::Network => "network",
            Self::ReadOnlyRoot => "read_only_root",
            Self::MaskedHost => "masked_host",
            Self::NoNewPrivileges => "no_new_privileges",
            Self::Capabilities => "capabilities",
            Self::Seccomp => "seccomp",
            Self::MemoryLimit => "memory_limit",
            Self::CpuLimit => "cpu_limit",
            Self::ProcessLimit => "process_limit",
            Self::FileLimits => "file_limits",
            Self::DiskLimit => "disk_limit",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Required => "required",
            Self::Wanted => "wanted",
            Self::Off => "off",
        })
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::Memory { bytes: 1 << 30 }
    }
}

impl Report {
    /// The row of one layer.
    pub fn layer(&self, layer: Layer) -> Option<&Enforced> {
        self.layers.iter().find(|row| row.layer == layer)
    }
}

/// Makes the parse, display and conversion that both kinds of name share.
macro_rules! name {
    ($type:ident, $what:literal) => {
        impl $type {
            /// Parses a name; refuses one that could not be a folder of its own.
            pub fn parse(text: &str) -> Result<Self> {
                let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
                if text.len() > 64 || !starts || !text.chars().all(legal) {
                    return Err(Error::invalid(format!(
                        concat!($what, " {:?} is not 1 to 64 characters of a-z A-Z 0-9 _ - that start with a letter or digit"),
                        text
                    )));
                }
                Ok(Self(text.to_owned()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                Self::parse(&text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
    };
}

name!(EnvironmentId, "environment id");
name!(OperationId, "operation id");

/// Refuses a path inside that is relative, climbs, or would cover a part of the system that the
/// environment's safety or working rests on.
fn inside_path(path: &Path) -> Result<()> {
    absolute(path)?;
    let mut parts = path.components();
    parts.next();
    if !parts.clone().all(|part| matches!(part, Component::Normal(_))) {
        return Err(Error::invalid(format!(
            "{} must not contain `.` or `..`: write the plain path",
            path.display()
        )));
    }
    let first = parts.next().map(|part| part.as_os_str().to_string_lossy().into_owned());
    match first.as_deref() {
        None => Err(Error::invalid("`/` itself cannot be bound; name a folder below it")),
        Some("proc" | "sys" | "dev") => Err(Error::invalid(format!(
            "{} lies in /proc, /sys or /dev, which an environment has of its own",
            path.display()
        ))),
        Some(_) => Ok(()),
    }
}

fn absolute(path: &Path) -> Result<()> {
    if path.is_absolute() {
        Ok(())
    } else {
        Err(Error::invalid(format!("{} is not an absolute path", path.display())))
    }
}

/// Refuses a host path that is, holds or lies in the supervisor's state.
fn hides(host: &Path, state_dir: &Path) -> Result<()> {
    let real = host.canonicalize().unwrap_or_else(|_| host.to_path_buf());
    if state_dir.starts_with(&real) || real.starts_with(state_dir) {
        return Err(Error::invalid(format!(
            "{} would show the supervisor's own state ({}) inside; keep work trees and binds apart from it",
            host.display(),
            state_dir.display()
        )));
    }
    Ok(())
}
