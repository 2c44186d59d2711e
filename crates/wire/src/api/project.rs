//! Projects: repositories with their settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_run::ProjectId;

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Project {
    /// Its id.
    #[schemars(with = "String")]
    pub id: ProjectId,
    /// The name, unique: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Where the repository is and who hosts its pull requests.
    pub source: Source,
    /// The branch that changes are meant for if a task names none; absent while the repository has
    /// no commit or its HEAD names no branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    /// The URL of the server's own copy, for `git clone` with a service token.
    pub clone_url: String,
    /// What it wants of its environments.
    #[serde(default)]
    pub settings: Settings,
    /// When it was added.
    pub created_at: i64,
    /// When the server last read the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshed_at: Option<i64>,
    /// Things that a person should know: that uncommitted work is not used, that HEAD is detached,
    /// that the last refresh failed.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Where a project's repository is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A repository on the server's disk. Its pull requests live on the local forge.
    Path {
        /// The absolute path of the work tree or of the bare repository.
        path: String,
    },
    /// A repository anywhere that git can read without a credential. Its pull requests live on the
    /// local forge.
    Url {
        /// The URL, without a credential in it.
        url: String,
    },
    /// A repository on GitHub or GitHub Enterprise Server. Its pull requests live there.
    Github {
        /// `OWNER/NAME`.
        repository: String,
        /// The base URL of the REST API; absent for github.com.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        api_url: Option<String>,
    },
}

/// Adds a project.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    /// The name; absent means the last part of the path or URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where the repository is.
    pub source: Source,
    /// The branch that changes are meant for; absent means the one that HEAD names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    /// For `github`: the token, kept sealed, never given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// For `github`: the secret of the webhook, kept sealed, never given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<String>,
}

/// What a project wants of its environments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// Prepare the environment whenever the default branch moved: as soon as the server sees that, or
    /// GitHub tells it by the webhook.
    #[serde(default)]
    pub prebuild_on_push: bool,
    /// Prepare the environment anew after so many minutes; absent: not by the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prebuild_every_minutes: Option<u64>,
    /// Hosts that prebuilds may reach, as `host:port` or `*.suffix:port`. Tasks with other hosts do not
    /// share their snapshots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prebuild_network: Vec<String>,
    /// After how many minutes without anything happening an environment is stopped that does not say
    /// otherwise; 0: never. 30 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_minutes: Option<u64>,
    /// At least how many environments each runner keeps ahead for it, whether or not anybody asks; 0 if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_min: Option<u32>,
    /// At most how many; what the runner keeps for all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_max: Option<u32>,
    /// The class of jobs and environments that do not choose one; `default` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// After how many days an environment that stays stopped is archived; 0: never. What the server says
    /// if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_days: Option<u64>,
    /// What automations choose it by, and rings of fleets: `a-z`, `0-9`, `.`, `_`, `=`, `/`, `-`.
    /// `owner=NAME` says who reviews its changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// Changes what a project wants of its environments. What is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSettings {
    /// Whether to prepare the environment whenever the default branch moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prebuild_on_push: Option<bool>,
    /// Prepare the environment anew after so many minutes, 5 to 43,200; 0: not by the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prebuild_every_minutes: Option<u64>,
    /// Hosts that prebuilds may reach, in place of those before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prebuild_network: Option<Vec<String>>,
    /// After how many minutes without anything happening an environment is stopped that does not say
    /// otherwise, at most 525,600; 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_minutes: Option<u64>,
    /// At least how many environments each runner keeps ahead for it, at most 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_min: Option<u32>,
    /// At most how many, at most 64 and not fewer than `pool_min`. More than 64: as many as the runner keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_max: Option<u32>,
    /// The class of jobs and environments that do not choose one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// After how many days an environment that stays stopped is archived, at most 3,650; 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_days: Option<u64>,
    /// What automations choose it by, instead of what it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
}

/// What is kept ahead of demand for a project, on one runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pool {
    /// The runner's name.
    pub runner: String,
    /// How many are ready.
    pub ready: u32,
    /// How many are being made.
    pub making: u32,
    /// How many should be: arrivals in the time that one takes to make, within the limits.
    pub wanted: u32,
    /// How many the runner keeps at most, of all projects.
    pub most: u32,
    /// Microseconds between two starts alike, smoothed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_micros: Option<u64>,
    /// Microseconds that making one takes, smoothed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refill_micros: Option<u64>,
    /// Bytes of memory that those which are ready hold.
    pub memory_bytes: u64,
    /// Bytes of disk that they hold; blocks that files share are counted for each.
    pub disk_bytes: u64,
    /// Of the last starts, how many the pool had.
    pub hits: u32,
    /// The last starts there, at most 50, the newest last.
    pub starts: Vec<PoolStart>,
}

/// A start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolStart {
    /// Whether the pool had it.
    pub hit: bool,
    /// How long it took, set-up and all, in microseconds.
    pub micros: u64,
}
