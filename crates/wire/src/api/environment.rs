//! Environments that live by themselves: a person's places to work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_run::{EnvironmentId, ProjectId};

use super::{Who, class::Limit};

/// An environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Its id.
    #[schemars(with = "String")]
    pub id: EnvironmentId,
    /// Its name, unique among those that are there.
    pub name: String,
    /// The project's id.
    #[schemars(with = "String")]
    pub project_id: ProjectId,
    /// The project's name.
    pub project: String,
    /// The branch that its work tree began with.
    #[serde(rename = "ref")]
    pub base: String,
    /// `creating`, `starting`, `running`, `stopping`, `stopped`, `archived`, `lost`, `failed`,
    /// `deleting` or `deleted`.
    pub phase: String,
    /// Why it stands there, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why what the repository says of its environment failed, while it runs without that, to be
    /// repaired: it is in recovery then. `/log` has the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<String>,
    /// Grows with each new wish of what it shall be.
    pub generation: u64,
    /// Whose it is.
    pub owner: Who,
    /// True if whoever asks may use it.
    pub yours: bool,
    /// Hosts that programs inside may reach, as `host:port` or `*.suffix:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<String>,
    /// The runner that keeps its work tree, once one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// When it was created.
    pub created_at: i64,
    /// When it changed last.
    pub changed_at: i64,
    /// Since when it runs, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<i64>,
    /// When something happened in it last.
    pub active_at: i64,
    /// After how many minutes without anything happening it is stopped; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_minutes: Option<u64>,
    /// When its life is over and it is deleted; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lives_until: Option<i64>,
    /// Work in it that no repository has, as of its last stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpushed: Option<Unpushed>,
    /// While it is being deleted: until when it can be had back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_until: Option<i64>,
    /// Where the time of its last start went, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub start: Vec<Stage>,
    /// What was there before its first start: `snapshot` (of one whose prebuild was done), `tree` (the work
    /// tree) or `mirror` (at most the repository). Absent of a later start, which has its own work tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_from: Option<String>,
    /// The name of its class.
    #[serde(default)]
    pub class: String,
    /// Labels that its runner has because it, or its class, asked for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs_on: Vec<String>,
    /// What it got of the machine at its last start, and who sees to that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// After how many days it is archived if it stays stopped; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_days: Option<u64>,
}

/// Work in an environment that no repository has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unpushed {
    /// The commit that holds all of it: in the bundle that `/work` gives.
    pub commit: String,
    /// How many files differ from the commit that the work tree began with.
    pub files: u32,
}

/// A part of a start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// What was done.
    pub name: String,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// Something that happened to an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Happening {
    /// When.
    pub at: i64,
    /// Who did it: a person, a token, a runner, or a part of the server.
    pub by: Who,
    /// What, in words.
    pub what: String,
}

/// An environment to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEnvironment {
    /// The project, by name or id.
    pub project: String,
    /// The branch to begin with; absent means the project's default branch.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// What to call it: a letter, then a-z, 0-9 and `-`, at most 63. Made from the project's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Hosts that programs inside may reach, as `host:port` or `*.suffix:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<String>,
    /// After how many minutes without anything happening it is stopped; 0: never. If absent,
    /// what the project says, or 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_minutes: Option<u64>,
    /// After how many hours it is deleted, whatever happens; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_hours: Option<u64>,
    /// Its class; absent: what the project says, or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Labels that a runner must have to take it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs_on: Vec<String>,
}

/// A fork of an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkEnvironment {
    /// What to call it. Made from the project's name if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Which environments are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentsQuery {
    /// `next` of the page before; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many entries, 1 to 200. 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only of this project, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Only in this phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Only one's own.
    #[serde(default)]
    pub mine: bool,
    /// Archived and deleted ones too.
    #[serde(default)]
    pub all: bool,
}
