//! What a job is asked to do, frozen when it starts. Made from a task or an automation, checked once
//! by [`Spec::check`], never changed afterwards. Its steps are a tree: leaves that are executed or
//! wait, and containers that say which of theirs is next.

mod check;
mod output;
mod tree;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Class, Duration, JobId, Labels, ProjectId, StepId, expression::Expression, template::Text,
};

pub use check::{DEEPEST, InvalidSpec, LONGEST_ID, MOST_ROUNDS, MOST_STEPS};
pub use output::{Kind, Output, Source};

/// Everything about a job that is known before it starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Where the work is done.
    pub target: Target,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What is done once those have failed, before the job ends so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_failure: Vec<Step>,
    /// What is done last, however they ended; after a cancel or a limit it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finally: Vec<Step>,
    /// What expressions can speak of from the start: an object with `inputs`, `event`, `target`, `run`
    /// and `automation`. Null for a task, whose texts hold no expressions.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub context: Value,
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
    /// Its name, unique within the job; within a block, among the block's steps.
    pub id: StepId,
    /// It is skipped unless this holds when it is due.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Expression>,
    /// What it does.
    pub action: Action,
    /// How long one attempt may take. The runner ends it then. Containers, waits and approvals have
    /// their own measures and pay no attention to this one.
    #[serde(default = "default_step_timeout")]
    pub timeout: Duration,
    /// When and how often a failed attempt is repeated.
    #[serde(default)]
    pub retry: Retry,
    /// If true, the job goes on with the next step when this one has failed for good.
    #[serde(default)]
    pub continue_on_error: bool,
    /// The values that it gives, by name. Only of `run` and `agent`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Output>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    /// Runs a shell command in the environment.
    Run {
        /// Given to `bash -euo pipefail -c`, or to `sh -eu -c` where there is no bash.
        command: Text,
    },
    /// Lets an agent work in the environment.
    Agent(AgentAction),
    /// Publishes the work tree's changes as a branch and a pull request.
    PullRequest(PullRequestAction),
    /// Finds out how ready the repository is for agents: builds and tests it, and reports.
    Readiness(ReadinessAction),
    /// Says something of the job's work, for whoever reads its page or the report of its run.
    Report(ReportAction),
    /// Ends the main list of steps here. What runs beside it is seen to its end, and what stands in
    /// [`Spec::finally`] is done.
    End(EndAction),
    /// Rests.
    Wait(WaitAction),
    /// Rests until somebody decides.
    Approve(ApproveAction),
    /// Its steps at once, in one environment. When one fails, nothing more of it is begun and what runs
    /// is seen to its end.
    Parallel {
        /// The steps.
        steps: Vec<Step>,
        /// How many at once at most; absent means all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// Its steps, in order, for each element of a list.
    ForEach {
        /// Gives the list, when the step is due.
        items: Expression,
        /// What its steps call the element.
        #[serde(default = "default_item")]
        name: String,
        /// The steps of a round.
        steps: Vec<Step>,
        /// How many rounds at once at most.
        #[serde(default = "default_limit")]
        limit: u32,
    },
    /// Its steps, in order, again and again until something holds. It fails if that does not hold after
    /// the last round.
    Until {
        /// Looked at after each round, with the round's steps and `round`, which counts from 1.
        condition: Expression,
        /// How many rounds at most.
        rounds: u32,
        /// How long it rests between two rounds.
        #[serde(default)]
        pause: Duration,
        /// The steps of a round.
        steps: Vec<Step>,
    },
    /// The steps of another automation, worked out when the job was made. They see the block's inputs
    /// and each other, and nothing of the steps around it.
    Block {
        /// The steps.
        steps: Vec<Step>,
        /// What they are given, worked out in the scope of the block when it is due.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        inputs: BTreeMap<String, Given>,
        /// What the block gives, worked out in the scope of its steps once they have ended.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        outputs: BTreeMap<String, Expression>,
    },
}

/// A value, or a text that gives one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// A value, as it stands.
    Value(Value),
    /// A text. A template that is one expression and nothing else gives that expression's value.
    Text(Text),
}

/// What a `report` step says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportAction {
    /// One line.
    pub title: Text,
    /// Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Text>,
    /// Named values. They are the step's outputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Given>,
}

/// How an `end` step ends the job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndAction {
    /// As what.
    pub outcome: EndOutcome,
    /// Why, for a person.
    pub reason: Text,
}

/// As what an `end` step ends the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndOutcome {
    /// There was nothing to do.
    Skipped,
    /// What there was to do is done.
    Succeeded,
}

/// How long a `wait` step rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitAction {
    /// So long.
    For {
        /// How long.
        duration: Duration,
    },
}

/// What an `approve` step asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveAction {
    /// What is to be decided: Markdown, for a person.
    pub prompt: Text,
    /// The least role that may decide.
    #[serde(default)]
    pub by_role: Approver,
    /// How long it waits for a decision; absent means as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What happens if nobody decides in that time.
    #[serde(default)]
    pub on_timeout: OnTimeout,
}

/// Who may decide, the least first: each may what those before it may.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Approver {
    /// Whoever starts and steers work.
    Operator,
    /// Whoever judges and lands work.
    #[default]
    Reviewer,
    /// Whoever may do everything.
    Admin,
}

/// What happens if nobody decides in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// The step fails.
    #[default]
    Fail,
    /// It is approved.
    Approve,
    /// It is declined.
    Decline,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentAction {
    /// The task, as a person wrote it.
    pub prompt: Text,
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
    pub verify: Vec<Text>,
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullRequestAction {
    /// The branch to push, below `windlass/`; absent means `windlass/<job>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<Text>,
    /// The title; absent means the first line of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// The body; absent means the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Text>,
    /// Opened as a draft.
    #[serde(default)]
    pub draft: bool,
}

/// When a failed attempt is repeated. An agent that gave up is only asked again where `on` says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// The pause before the second attempt. Doubles from then on.
    pub backoff: Duration,
    /// The longest pause.
    pub backoff_cap: Duration,
    /// Which failures are repeated; empty means all but [`ErrorClass::Agent`] and
    /// [`ErrorClass::Template`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<ErrorClass>,
}

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// A command or a verification did not end well.
    Exit,
    /// It took too long.
    Timeout,
    /// What it runs in broke: memory, processes, disk, network, a service, the repository.
    Environment,
    /// The agent broke or gave up.
    Agent,
    /// An output is missing, of another kind, or not accepted.
    Output,
    /// A template or a condition has no value. It would have none the next time.
    Template,
}

impl ErrorClass {
    /// The class of a failure's code.
    pub fn of(code: &str) -> Self {
        match code {
            "step_failed" | "verify_failed" | "command" | "exit_code" => Self::Exit,
            "timeout" => Self::Timeout,
            "output" => Self::Output,
            "template" => Self::Template,
            code if code.starts_with("agent") || code.starts_with("model") => Self::Agent,
            _ => Self::Environment,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            backoff: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(300),
            on: Vec::new(),
        }
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

fn default_item() -> String {
    "item".to_owned()
}

fn default_limit() -> u32 {
    1
}

impl Spec {
    /// Steps for a target, with everything else as it is when nothing is said.
    pub fn new(target: Target, steps: Vec<Step>) -> Self {
        Self {
            target,
            steps,
            on_failure: Vec::new(),
            finally: Vec::new(),
            context: Value::Null,
            limits: Limits::default(),
            network: Vec::new(),
            runs_on: Labels::default(),
            class: None,
            continues: None,
            plain_environment: false,
            sensitive: Vec::new(),
        }
    }
}

impl Step {
    /// A step with everything but its name and what it does as it is when nothing is said.
    pub fn new(id: StepId, action: Action) -> Self {
        Self {
            id,
            condition: None,
            action,
            timeout: default_step_timeout(),
            retry: Retry::default(),
            continue_on_error: false,
            outputs: BTreeMap::new(),
        }
    }
}

impl Action {
    /// What a `run` step of this command does.
    pub fn run(command: impl Into<Text>) -> Self {
        Self::Run { command: command.into() }
    }

    /// The steps within it; empty for a leaf.
    pub fn steps(&self) -> &[Step] {
        match self {
            Self::Parallel { steps, .. }
            | Self::ForEach { steps, .. }
            | Self::Until { steps, .. }
            | Self::Block { steps, .. } => steps,
            _ => &[],
        }
    }

    /// Whether it is a runner that does it.
    pub fn is_executed(&self) -> bool {
        matches!(
            self,
            Self::Run { .. } | Self::Agent(_) | Self::PullRequest(_) | Self::Readiness(_)
        )
    }

    /// Whether it holds other steps.
    pub fn is_container(&self) -> bool {
        matches!(
            self,
            Self::Parallel { .. } | Self::ForEach { .. } | Self::Until { .. } | Self::Block { .. }
        )
    }

    /// The word of a file for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Run { .. } => "run",
            Self::Agent(_) => "agent",
            Self::PullRequest(_) => "pull_request",
            Self::Readiness(_) => "readiness",
            Self::Report(_) => "report",
            Self::End(_) => "end",
            Self::Wait(_) => "wait",
            Self::Approve(_) => "approve",
            Self::Parallel { .. } => "parallel",
            Self::ForEach { .. } => "for_each",
            Self::Until { .. } => "until",
            Self::Block { .. } => "call",
        }
    }
}
