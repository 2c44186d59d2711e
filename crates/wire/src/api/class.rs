//! Environment classes: what an environment may use of its machine, and which runners can give that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentClass {
    /// Its name. `default` is what is chosen where nobody chooses.
    pub name: String,
    /// Thousandths of a processor; absent: what the operator of the runner says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Memory of all programs together, in MiB; absent: what the operator of the runner says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// Work tree, home folder and volumes together, in MiB; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mib: Option<u64>,
    /// Processes and threads at once; absent: what the operator of the runner says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Whether the runner must have a graphics processor, by its label `gpu`.
    #[serde(default)]
    pub gpu: bool,
    /// `any`, `process` or `oci`: by which backend it must be made.
    pub backend: String,
    /// Labels that a runner must have besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs_on: Vec<String>,
    /// All labels that a runner must have: also those of the backend and of the graphics processor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// The names of the runners that are there and have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runners: Vec<String>,
    /// Why nothing of it can start now; absent if something can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// True for `default` while nobody changed it.
    #[serde(default)]
    pub built_in: bool,
}

/// A class to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClass {
    /// What to call it: a letter, then a-z, 0-9 and `-`, at most 63.
    pub name: String,
    /// What it gives.
    #[serde(default)]
    pub gives: ChangeClass,
}

/// Changes what a class gives. What is absent stays as it is; what is there already keeps what it got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeClass {
    /// Thousandths of a processor, 10 to 1,024,000; 0: what the operator of the runner says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Memory in MiB, at least 16; 0: what the operator of the runner says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// Disk in MiB; 0: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mib: Option<u64>,
    /// Processes and threads, at least 8; 0: what the operator of the runner says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Whether the runner must have a graphics processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<bool>,
    /// `any`, `process` or `oci`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Labels that a runner must have, in place of those before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_on: Option<Vec<String>>,
}

/// What an environment got of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// `cpu`, `memory`, `disk`, `processes` or `gpu`.
    pub what: String,
    /// How much: thousandths of a processor, bytes, or a number.
    pub amount: u64,
    /// The same in words.
    pub shown: String,
    /// Whether something sees to it.
    pub enforced: bool,
    /// What does, or why nothing does and what to do.
    pub how: String,
}
