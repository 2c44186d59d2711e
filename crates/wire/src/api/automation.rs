//! Automations.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_run::{JobId, RunId};

/// Starts a run of an automation file by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunAutomation {
    /// The file.
    pub file: AutomationFile,
    /// The files of other automations that it may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<AutomationFile>,
    /// Its inputs; those that are absent have their defaults.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub inputs: serde_json::Map<String, serde_json::Value>,
    /// The projects to work on, by name or id; empty means those that the file lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
}

/// An automation's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutomationFile {
    /// What complaints call it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A run that was just started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StartedAutomation {
    /// The run.
    #[schemars(with = "String")]
    pub run_id: RunId,
    /// Its jobs, in the order of the projects.
    #[schemars(with = "Vec<String>")]
    pub job_ids: Vec<JobId>,
    /// Where a person sees the run.
    pub url: String,
    /// Things that a person should know.
    #[serde(default)]
    pub notes: Vec<String>,
}
