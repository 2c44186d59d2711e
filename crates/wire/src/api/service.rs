//! What runs beside the work in an environment that lives by itself: services, and tasks with the values
//! that they give. What the repository says of them is in `.windlass/environment.yaml`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Services and tasks of an environment, in the order of their file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Automation {
    /// What runs beside the work.
    pub services: Vec<Service>,
    /// What runs to its end.
    pub tasks: Vec<Task>,
}

/// A service as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `starting` (not ready yet), `ready`, `waiting` (it ended and starts again soon), `ended` (by itself,
    /// for good), `failed` (it can't be run), `stopped` (somebody stopped it) or `absent` (it was not
    /// started).
    pub state: String,
    /// Since when it is so; absent while it is `absent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// How often it was started again since the environment started.
    pub restarts: u32,
    /// How it ended last, by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_end: Option<String>,
    /// The ports on which it listens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// What must be there before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// `never`, `on_failure` or `always`.
    pub restart: String,
}

/// A task, and how it ran last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it runs by itself: `start`, `prebuild`, `before_snapshot`; `manual`: when somebody asks.
    pub on: Vec<String>,
    /// What must be there before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// The values that it gives, with their types.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// How it ran last since the environment started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<TaskRun>,
}

/// One run of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRun {
    /// Its number among the runs of tasks since the environment started.
    pub number: u64,
    /// `running`, `succeeded` or `failed`.
    pub state: String,
    /// When it began.
    pub began_at: i64,
    /// When it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
    /// The code that its command ended with, if it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// Why it failed, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The values that it gave, of the types that they were declared with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, serde_json::Value>,
}
