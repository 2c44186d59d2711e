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
    /// Its jobs, in the order of the projects. Empty if the run is a fleet: its targets have jobs when they are
    /// begun.
    #[schemars(with = "Vec<String>")]
    pub job_ids: Vec<JobId>,
    /// Where a person sees the run.
    pub url: String,
    /// Things that a person should know.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Automation files that are to be in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyAutomations {
    /// The files, in any order.
    pub files: Vec<AutomationFile>,
    /// Whether automations that somebody applied by hand and that are in none of the files are removed.
    #[serde(default)]
    pub prune: bool,
    /// The `digest` of the plan that was looked at: refused if something else would be done now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expects: Option<String>,
}

/// A project whose automation files are to be in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncAutomations {
    /// The project, by name or id.
    pub project: String,
    /// Whether it is only said what would be done.
    #[serde(default)]
    pub plan: bool,
}

/// What becomes of the automations of an organisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AutomationPlan {
    /// What `expects` can say: the same as long as the same would be done.
    pub digest: String,
    /// Whether it was done.
    pub applied: bool,
    /// The project and commit that the files are of, where they are a project's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<AutomationSource>,
    /// What becomes of each, by name.
    pub changes: Vec<PlannedChange>,
}

/// A project whose automation files are the truth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AutomationSource {
    /// The project's name.
    pub project: String,
    /// The commit.
    pub commit: String,
}

/// What becomes of one automation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedChange {
    /// Its name.
    pub name: String,
    /// `create`, `change`, `keep` or `remove`.
    pub what: String,
    /// The version in force before; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// What changes in the file: a unified diff without a head. Empty if nothing does.
    pub diff: String,
    /// What starts it, a line each.
    pub triggers: Vec<String>,
    /// When it is to start next, if a schedule does: at most five times, in microseconds.
    pub fires: Vec<i64>,
    /// On what it works, in words.
    pub targets: String,
    /// What its last runs used; absent if it never ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<AutomationHistory>,
    /// What a person should know before it is done.
    pub notes: Vec<String>,
}

/// What an automation's last jobs used, to judge what the next will.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AutomationHistory {
    /// How many of its last jobs this is about; at most 1,000.
    pub jobs: u64,
    /// How many of those succeeded.
    pub succeeded: u64,
    /// How many had nothing to do.
    pub skipped: u64,
    /// The mean tokens of one.
    pub tokens_per_job: u64,
    /// The mean time of one from its first lease to its end, in microseconds.
    pub micros_per_job: u64,
}

/// An automation as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AutomationSummary {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The version in force.
    pub version: u64,
    /// `ok`, `off` (its file says so), `paused`, `failing` (its last run did not end well) or `unreadable` (this
    /// server can't read its file any more).
    pub health: String,
    /// Why it is paused or unreadable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What starts it, a line each.
    pub triggers: Vec<String>,
    /// On what it works, in words.
    pub targets: String,
    /// When its schedules start it next, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<i64>,
    /// Its newest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<AutomationRun>,
    /// What its last jobs used; absent if it never ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<AutomationHistory>,
    /// The project whose file it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// When it was changed last, in microseconds.
    pub changed_at: i64,
}

/// A run of an automation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AutomationRun {
    /// The run.
    #[schemars(with = "String")]
    pub run_id: RunId,
    /// Where it stands: `queued`, `running`, or how it ended.
    pub state: String,
    /// The version that it is a run of; absent for a file that nobody applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// How many jobs it has.
    pub jobs: u32,
    /// When it was created, in microseconds.
    pub created_at: i64,
    /// When it ended, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
}

/// An automation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AutomationDetail {
    /// What lists show.
    #[serde(flatten)]
    pub summary: AutomationSummary,
    /// What the file is called.
    pub file: String,
    /// The file.
    pub text: String,
    /// Who applied the version in force.
    pub applied_by: super::Who,
    /// When its schedules start it: the next five times, in microseconds.
    pub fires: Vec<i64>,
    /// Its inputs, each with its type, as the file has them.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub inputs: serde_json::Map<String, serde_json::Value>,
    /// Its newest runs, newest first.
    pub runs: Vec<AutomationRun>,
}

/// A version of an automation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AutomationVersion {
    /// Its number.
    pub version: u64,
    /// What the file was called.
    pub file: String,
    /// The file.
    pub text: String,
    /// SHA-256 of the file, in hex.
    pub digest: String,
    /// Where it came from, in words: `by hand`, `project api at 0f3c…`, `version 3`.
    pub origin: String,
    /// Who applied it.
    pub by: super::Who,
    /// When, in microseconds.
    pub at: i64,
}

/// Puts an earlier version in force again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollBackAutomation {
    /// Which.
    pub version: u64,
}

/// Keeps an automation from starting anything by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseAutomation {
    /// Why, for people.
    pub reason: String,
}

/// Starts a run of an automation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartAutomation {
    /// Its inputs; those that are absent have their defaults.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub inputs: serde_json::Map<String, serde_json::Value>,
    /// The projects to work on, by name or id; empty means those that the file lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
}

/// Asks what an automation file would have started of the last events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RehearseAutomation {
    /// The file.
    pub file: AutomationFile,
    /// How many events are looked at, 1 to 10,000.
    pub last: u32,
}

/// What it would have started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RehearsedAutomation {
    /// Its name.
    pub automation: String,
    /// How many events were looked at.
    pub looked_at: u64,
    /// How many runs would have been started.
    pub starts: u64,
    /// Those events that a trigger waits for, the oldest first; the newest 1,000 at most.
    pub events: Vec<RehearsedEvent>,
    /// Whether older ones were left out.
    #[serde(default)]
    pub and_more: bool,
}

/// An event that a trigger waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RehearsedEvent {
    /// Its id.
    pub id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it comes from.
    pub source: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it arrived.
    pub received_at: i64,
    /// What triggers would have made of it.
    pub triggers: Vec<RehearsedTrigger>,
}

/// What one trigger would have made of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RehearsedTrigger {
    /// Its place in `on`, from 0.
    pub on: usize,
    /// Its kind.
    pub kind: String,
    /// Whether it would have started a run.
    pub starts: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// With which inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<serde_json::Value>,
}
