//! What a job is asked to do, frozen when it starts. Made from a task or an automation, checked once
//! by [`Spec::check`], never changed afterwards.

use serde::{Deserialize, Serialize};

use crate::{Class, Duration, JobId, Labels, ProjectId, StepId};

/// Everything about a job that is known before it starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Where the work is done.
    pub target: Target,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Limits of the whole job.
    #[serde(default)]
    pub limits: Limits,
    /// Hosts that the environment may reach through the web door, as `host:port` or
    /// `*.suffix:port`; empty means none.
    #[serde(default)]
    pub network: Vec<String>,
    /// What a runner must have to take it.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub runs_on: Labels,
    /// What its environment may use of its machine, as it was when the job was made; absent: what the
    /// runner's operator says. What the class needs of a runner is in `runs_on`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// The ended job that this one follows up, where it is a further round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<JobId>,
    /// Whether the environment is the plain one, without what the repository says of it: for repairing
    /// just that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain_environment: bool,
    /// The names of secrets that its agents' own processes may read. A job with any is *sensitive*.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitive: Vec<String>,
}

/// A repository and the ref to start from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The project whose repository it is.
    pub project_id: ProjectId,
    /// The branch that the change is meant for.
    pub base: String,
    /// The full commit id to start from, where it is already known. Absent: the tip of `base` at the
    /// first lease, recorded then and used by every later attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name, unique within the job.
    pub id: StepId,
    /// What it does.
    pub action: Action,
    /// How long one attempt may take. The runner ends it then.
    #[serde(default = "default_step_timeout")]
    pub timeout: Duration,
    /// When and how often a failed attempt is repeated.
    #[serde(default)]
    pub retry: Retry,
    /// If true, the job goes on with the next step when this one has failed for good.
    #[serde(default)]
    pub continue_on_error: bool,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    /// Runs a shell command in the environment.
    Run {
        /// Given to `bash -euo pipefail -c`, or to `sh -eu -c` where there is no bash.
        command: String,
    },
    /// Lets an agent work in the environment.
    Agent(AgentAction),
    /// Publishes the work tree's changes as a branch and a pull request.
    PullRequest(PullRequestAction),
    /// Finds out how ready the repository is for agents: builds and tests it, and reports.
    Readiness(ReadinessAction),
}

/// What a `readiness` step does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadinessAction {
    /// Whether the files that it proposes become the work tree's change, for a `pull_request` step
    /// after it.
    #[serde(default)]
    pub propose: bool,
}

/// What an `agent` step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentAction {
    /// The task, as a person wrote it.
    pub prompt: String,
    /// The harness: `builtin`, a name in the table of known agents, or `custom: <command>`.
    #[serde(default = "default_harness")]
    pub harness: String,
    /// The model to ask for; absent means the agent's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How much the agent may do without asking.
    #[serde(default)]
    pub mode: Mode,
    /// Commands that must all succeed before the step can end well.
    #[serde(default)]
    pub verify: Vec<String>,
    /// How often the agent may try to make them succeed, at least 1.
    #[serde(default = "default_attempts")]
    pub attempts: u32,
    /// The name of a session file that answers instead of a model, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
}

/// How much an agent may do inside its environment without asking. The environment's walls are the
/// same in all three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It asks before it changes anything; in a background job every such question is denied.
    Ask,
    /// It asks for what its own rules find risky, and the platform allows it.
    Auto,
    /// It does not ask: the environment is the boundary.
    #[default]
    Full,
}

/// What a `pull_request` step does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullRequestAction {
    /// The branch to push, below `windlass/`; absent means `windlass/<job>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The title; absent means the first line of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The body; absent means the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Opened as a draft.
    #[serde(default)]
    pub draft: bool,
}

/// When a failed attempt is repeated. Only failures of the platform or of a command are; an agent
/// that gave up is not asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// The pause before the second attempt. Doubles from then on.
    pub backoff: Duration,
    /// The longest pause.
    pub backoff_cap: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, backoff: Duration::from_secs(1), backoff_cap: Duration::from_secs(300) }
    }
}

/// Limits of a whole job. Reaching one ends the job with the limit as its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// From the first lease to the end, waiting included.
    #[serde(default = "default_job_duration")]
    pub duration: Duration,
    /// Tokens of all model calls together, as the model door counts them; absent means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// How often a job may be requeued after a lost lease before it fails.
    #[serde(default = "default_requeues")]
    pub requeues: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { duration: default_job_duration(), tokens: None, requeues: default_requeues() }
    }
}

fn default_step_timeout() -> Duration {
    Duration::from_secs(30 * 60)
}

fn default_job_duration() -> Duration {
    Duration::from_secs(60 * 60)
}

fn default_requeues() -> u32 {
    10
}

fn default_attempts() -> u32 {
    3
}

fn default_harness() -> String {
    "builtin".to_owned()
}

/// Why a spec can't become a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct InvalidSpec {
    /// Where, as a path of keys: `steps[2].id`.
    pub place: String,
    /// What is wrong and what to do.
    pub why: String,
}

impl Spec {
    /// Checks what types can't say.
    ///
    /// # Errors
    /// The first fault found, with its place.
    pub fn check(&self) -> Result<(), InvalidSpec> {
        let refuse = |place: String, why: &str| Err(InvalidSpec { place, why: why.to_owned() });
        if self.steps.is_empty() {
            return refuse("steps".into(), "at least one step is needed");
        }
        if self.steps.len() > 1_000 {
            return refuse("steps".into(), "at most 1000 steps are allowed");
        }
        if self.target.base.is_empty() {
            return refuse("target.base".into(), "name the branch that the change is meant for");
        }
        for (i, step) in self.steps.iter().enumerate() {
            if self.steps[..i].iter().any(|earlier| earlier.id == step.id) {
                return refuse(format!("steps[{i}].id"), "another step has this name already");
            }
            if step.retry.attempts == 0 {
                return refuse(format!("steps[{i}].retry.attempts"), "it must be at least 1");
            }
            if step.timeout <= Duration::default() {
                return refuse(format!("steps[{i}].timeout"), "it must be more than zero");
            }
            match &step.action {
                Action::Run { command } if command.trim().is_empty() => {
                    return refuse(format!("steps[{i}].run"), "the command is empty");
                }
                Action::Agent(agent) if agent.prompt.trim().is_empty() => {
                    return refuse(
                        format!("steps[{i}].agent"),
                        "the task is empty: say what to do",
                    );
                }
                Action::Agent(agent) if agent.attempts == 0 => {
                    return refuse(format!("steps[{i}].attempts"), "it must be at least 1");
                }
                Action::PullRequest(PullRequestAction { branch: Some(branch), .. })
                    if !branch.starts_with("windlass/") =>
                {
                    return refuse(
                        format!("steps[{i}].branch"),
                        "a job's branches begin with `windlass/`",
                    );
                }
                Action::Run { .. }
                | Action::Agent(_)
                | Action::PullRequest(_)
                | Action::Readiness(_) => {}
            }
        }
        Ok(())
    }
}
