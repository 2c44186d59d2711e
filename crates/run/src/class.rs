//! Environment classes: what an environment may use of its machine, and which runners can give that. An
//! organisation names them; jobs and environments choose one by its name and keep it as it was then.
//!
//! Never done here: enforcing. A class is data; what a runner's kernel makes of it is told by [`Limited`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Labels, labels::InvalidLabels};

/// The name of the class that is there without anybody's doing. It limits nothing by itself: what the
/// operator of a runner says there holds.
pub const DEFAULT: &str = "default";
/// The label that a runner must have for a class with a graphics processor.
pub const GPU: &str = "gpu";
/// The most bytes of a name.
pub const LONGEST_NAME: usize = 63;
/// The most classes of an organisation.
pub const MOST: usize = 100;

/// The least and the most thousandths of a processor.
const CPU_MILLIS: std::ops::RangeInclusive<u32> = 10..=1_024_000;
/// The least memory: less holds no shell and no git.
const MEMORY: u64 = 16 << 20;
/// The least disk.
const DISK: u64 = 1 << 20;
/// The least processes (the platform's own beside a shell and what it starts), and the most that a kernel
/// counts.
const PROCESSES: std::ops::RangeInclusive<u32> = 8..=4_000_000;

/// A class. What is absent is what the operator of the runner says, or no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// What people call it: unique in its organisation.
    pub name: String,
    /// Time of processors, in thousandths of one: 1500 is one and a half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Memory of all programs together, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Work tree, home folder and volumes together, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Processes and threads at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Whether the runner must have a graphics processor, by its label `gpu`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gpu: bool,
    /// By which backend it must be made.
    #[serde(default, skip_serializing_if = "Backend::is_any")]
    pub backend: Backend,
    /// What else a runner must be or have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub runs_on: Labels,
}

/// By which backend an environment must be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// Any.
    #[default]
    Any,
    /// The kernel's own means, without a container engine.
    Process,
    /// A container engine.
    Oci,
}

/// A class that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// Which field of the class.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// What an environment got of one thing that it was to have or not to exceed, as its runner saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limited {
    /// What.
    pub what: Resource,
    /// How much, in the unit of [`Resource`].
    pub amount: u64,
    /// Whether something sees to it.
    pub enforced: bool,
    /// What does, or why nothing does and what to do, for a person.
    pub how: String,
}

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Thousandths of a processor.
    Cpu,
    /// Bytes of memory.
    Memory,
    /// Bytes of disk.
    Disk,
    /// Processes and threads.
    Processes,
    /// Graphics processors.
    Gpu,
}

impl Class {
    /// The class [`DEFAULT`] where nobody changed it.
    pub fn built_in() -> Self {
        Self { name: DEFAULT.to_owned(), ..Self::default() }
    }

    /// Whether such a class can be.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), Invalid> {
        let fault = |field, why: String| Err(Invalid { field, why });
        if !is_name(&self.name) {
            let why = format!(
                "a name begins with a letter, has at most {LONGEST_NAME} of a-z, 0-9 and `-`, and does \
                 not end with `-`"
            );
            return fault("name", why);
        }
        if self.cpu_millis.is_some_and(|millis| !CPU_MILLIS.contains(&millis)) {
            return fault("cpus", "give 0.01 to 1024 processors".to_owned());
        }
        if self.memory_bytes.is_some_and(|bytes| bytes < MEMORY) {
            return fault("memory_mib", format!("give at least {} MiB", MEMORY >> 20));
        }
        if self.disk_bytes.is_some_and(|bytes| bytes < DISK) {
            return fault("disk_mib", format!("give at least {} MiB", DISK >> 20));
        }
        if self.processes.is_some_and(|processes| !PROCESSES.contains(&processes)) {
            return fault("processes", "give 8 to 4000000".to_owned());
        }
        match self.needs() {
            Ok(_) => Ok(()),
            Err(invalid) => fault("runs_on", invalid.to_string()),
        }
    }

    /// What a runner must be and have to give it.
    ///
    /// # Errors
    /// They are too many.
    pub fn needs(&self) -> Result<Labels, InvalidLabels> {
        let gpu = self.gpu.then_some(GPU);
        Labels::new(self.runs_on.iter().chain(gpu).chain(self.backend.label()))
    }
}

/// Whether a text can be the name of a class.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.bytes().all(plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.len() <= LONGEST_NAME
}

impl Backend {
    /// The word of the API and of the label that a runner has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Process => "process",
            Self::Oci => "oci",
        }
    }

    /// The backend of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Any, Self::Process, Self::Oci].into_iter().find(|backend| backend.name() == name)
    }

    fn is_any(&self) -> bool {
        *self == Self::Any
    }

    fn label(self) -> Option<&'static str> {
        (!self.is_any()).then(|| self.name())
    }
}

impl Resource {
    /// The word of the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Processes => "processes",
            Self::Gpu => "gpu",
        }
    }

    /// So much of it, for a person.
    pub fn amount(self, amount: u64) -> String {
        match self {
            Self::Cpu => cpus(amount),
            Self::Memory | Self::Disk => format!("{} MiB", amount >> 20),
            Self::Processes => format!("{amount} processes"),
            Self::Gpu => "a graphics processor".to_owned(),
        }
    }
}

/// Thousandths of a processor, for a person: `1.5 processors`.
pub fn cpus(millis: u64) -> String {
    let whole = format!("{}.{:03}", millis / 1000, millis % 1000);
    let short = whole.trim_end_matches('0').trim_end_matches('.');
    let unit = if millis == 1000 { "processor" } else { "processors" };
    format!("{short} {unit}")
}

/// In one line, for a person.
impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.cpu_millis.map(|millis| Resource::Cpu.amount(millis.into())),
            self.memory_bytes.map(|bytes| format!("memory {}", Resource::Memory.amount(bytes))),
            self.disk_bytes.map(|bytes| format!("disk {}", Resource::Disk.amount(bytes))),
            self.processes.map(|count| Resource::Processes.amount(count.into())),
            self.gpu.then(|| Resource::Gpu.amount(1)),
            self.backend.label().map(|name| format!("backend {name}")),
            (!self.runs_on.is_empty()).then(|| format!("runs on {}", self.runs_on)),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        match parts.is_empty() {
            true => f.write_str("what the runner's operator says"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_needs_what_its_runner_must_have() {
        let class = Class {
            gpu: true,
            backend: Backend::Oci,
            runs_on: "region=eu".parse().expect("labels"),
            ..Class::built_in()
        };
        assert_eq!(class.needs().expect("few").to_string(), "gpu,oci,region=eu");
        assert_eq!(Class::built_in().needs(), Ok(Labels::default()));
    }

    #[test]
    fn a_class_says_in_words_what_it_gives() {
        assert_eq!(Class::built_in().to_string(), "what the runner's operator says");
        let class = Class {
            cpu_millis: Some(1500),
            memory_bytes: Some(4 << 30),
            processes: Some(512),
            ..Class::built_in()
        };
        assert_eq!(class.to_string(), "1.5 processors, memory 4096 MiB, 512 processes");
        let shown = [1000, 250, 2000, 2050].map(cpus);
        assert_eq!(shown, ["1 processor", "0.25 processors", "2 processors", "2.05 processors"]);
    }

    #[test]
    fn what_can_be_no_class_is_refused_at_its_field() {
        let of = |change: fn(&mut Class)| {
            let mut class = Class { name: "big".to_owned(), ..Class::default() };
            change(&mut class);
            class.check().map_err(|invalid| invalid.field)
        };
        assert_eq!(of(|_| {}), Ok(()));
        assert_eq!(of(|class| class.name = "Big".to_owned()), Err("name"));
        assert_eq!(of(|class| class.name = "b-".to_owned()), Err("name"));
        assert_eq!(of(|class| class.cpu_millis = Some(9)), Err("cpus"));
        assert_eq!(of(|class| class.memory_bytes = Some(1)), Err("memory_mib"));
        assert_eq!(of(|class| class.disk_bytes = Some(1)), Err("disk_mib"));
        assert_eq!(of(|class| class.processes = Some(7)), Err("processes"));
        let many: Vec<String> = (0..32).map(|n| n.to_string()).collect();
        let mut full = Class { name: "a".to_owned(), gpu: true, ..Class::default() };
        full.runs_on = Labels::new(many).expect("as many as can be");
        assert_eq!(full.check().map_err(|invalid| invalid.field), Err("runs_on"));
    }
}
