//! Runs and tasks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_run::{JobId, ProjectId, RunId};

use super::{Who, job::JobSummary};

/// A run with its jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// What a list shows of it.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Its jobs, oldest first.
    pub jobs: Vec<JobSummary>,
}

/// A run as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// Its id.
    #[schemars(with = "String")]
    pub id: RunId,
    /// The task in one line.
    pub title: String,
    /// Who started it.
    pub started_by: Who,
    /// `queued`, `running`, `succeeded`, `gave_up`, `failed`, `cancelled` or `skipped`.
    pub state: String,
    /// When it was created.
    pub created_at: i64,
    /// When its last job ended; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
}

/// Which runs are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunsQuery {
    /// `next` of the page before; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many entries, 1 to 200. 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only runs in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// Starts a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// The project's name or id.
    pub project: String,
    /// What to do, for an agent. Becomes the steps *agent*, then *pull request*. Give either this
    /// or `steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The steps, where a task alone does not say enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<serde_json::Value>")]
    pub steps: Vec<windlass_run::spec::Step>,
    /// The run in one line; absent means the first line of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The branch that the change is meant for; absent means the project's default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// How the agent of `task` works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentOptions>,
    /// Limits of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Hosts that the environment may reach, as `host:port` or `*.suffix:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<String>,
    /// Labels that a runner must have to take the job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs_on: Vec<String>,
    /// The class of the job's environment; absent: what the project says, or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// False if the work is not to become a pull request. True if absent.
    #[serde(default = "yes")]
    pub pull_request: bool,
    /// Work in the plain environment, without what the repository says of it: to repair just that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain_environment: bool,
}

/// How the agent of a task works. What is absent keeps its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentOptions {
    /// `builtin`, a name in the table of known agents, or `custom: COMMAND`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harness: Option<String>,
    /// The model to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `ask`, `auto` or `full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub mode: Option<windlass_run::spec::Mode>,
    /// Commands that must all succeed before the agent can end well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verify: Vec<String>,
    /// How often the agent may try to make them succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The name of a session file that answers instead of a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
    /// How long one attempt may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// Limits of a job. What is absent keeps its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// From the first lease to the end, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// Tokens of all model calls together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

/// Stops a run or a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Why, for those who read it later.
    #[serde(default)]
    pub reason: String,
}

/// A run that was just started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StartedRun {
    /// The run.
    #[schemars(with = "String")]
    pub run_id: RunId,
    /// Its jobs.
    #[schemars(with = "Vec<String>")]
    pub job_ids: Vec<JobId>,
    /// The project.
    #[schemars(with = "String")]
    pub project_id: ProjectId,
    /// Where a person sees the run.
    pub url: String,
    /// Things that a person should know: that uncommitted work is not used, for example.
    #[serde(default)]
    pub notes: Vec<String>,
}

fn yes() -> bool {
    true
}
