//! Jobs: their state, steps, effects and streams.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_run::{JobId, ProjectId, RunId, RunnerId, StepId};

use super::{Who, class::Limit, environment::Stage};

/// A job as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobSummary {
    /// Its id.
    #[schemars(with = "String")]
    pub id: JobId,
    /// Its run.
    #[schemars(with = "String")]
    pub run_id: RunId,
    /// Its project.
    #[schemars(with = "String")]
    pub project_id: ProjectId,
    /// The project's name.
    pub project: String,
    /// The task in one line.
    pub title: String,
    /// `queued`, `running`, `succeeded`, `gave_up`, `failed`, `cancelled` or `skipped`.
    pub state: String,
    /// How it ended; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// The pull request that it opened or updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequestLink>,
    /// When it was created.
    pub created_at: i64,
    /// When its first lease began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
}

/// Which jobs are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobsQuery {
    /// `next` of the page before; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many entries, 1 to 200. 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those of this project, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only those that have not ended (`true`), or have (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
}

/// A job with its steps and effects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// What a list shows of it.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// Who asked for it.
    pub asked_by: Who,
    /// The branch that the change is meant for.
    pub base: String,
    /// The commit that the work starts from, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_commit: Option<String>,
    /// The ended job that this one follows up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub continues: Option<JobId>,
    /// The names of secrets that its agents' own processes may read: a sensitive job, if there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitive: Vec<String>,
    /// The runner that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub runner_id: Option<RunnerId>,
    /// The epoch of the newest lease; 0 before the first.
    pub epoch: u64,
    /// How often it was requeued after a lost lease.
    pub requeues: u32,
    /// Who asked it to stop, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelRequest>,
    /// Tokens used so far, as the model door counts them.
    pub tokens: u64,
    /// The limit of tokens, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_limit: Option<u64>,
    /// Its steps, in order.
    pub steps: Vec<Step>,
    /// Its outward writes, in the order in which they were staged.
    pub effects: Vec<Effect>,
    /// How its environments came to be, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<Start>,
}

/// How an environment of a job came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Start {
    /// What was there before it began: `pool` (an environment started ahead), `snapshot` (of one whose
    /// prebuild was done), `tree` (the work tree) or `mirror` (at most the repository).
    pub from: String,
    /// Why none was taken from the pool; absent if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<String>,
    /// Its parts in order.
    pub stages: Vec<Stage>,
    /// What the pool held for starts like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolShelf>,
    /// What would make the next one faster, as far as that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
    /// What it got of the machine, and who sees to that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
}

/// What a runner's pool knew of starts alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolShelf {
    /// How many were ready, this one taken off.
    pub ready: u32,
    /// How many should have been: arrivals in the time that one takes to make, within the limits.
    pub wanted: u32,
    /// Microseconds between two arrivals, smoothed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_micros: Option<u64>,
    /// Microseconds that making one takes, smoothed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refill_micros: Option<u64>,
    /// How many the runner keeps ahead at most, of all kinds.
    pub most: u32,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// `succeeded`, `gave_up`, `failed`, `cancelled` or `skipped`.
    pub outcome: String,
    /// A stable code.
    pub code: String,
    /// One or more sentences that a person can act on.
    pub reason: String,
    /// What was tried, why it stopped, and what would unblock it: the agent's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub give_up: Option<GiveUp>,
}

/// The agent's own report of why there is no change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GiveUp {
    /// What was tried, in order.
    pub tried: Vec<String>,
    /// Why it stopped.
    pub stopped_because: String,
    /// What would unblock it.
    pub would_unblock: String,
}

/// Somebody asked a job to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelRequest {
    /// Who.
    pub by: Who,
    /// Why.
    pub reason: String,
    /// When.
    pub at: i64,
}

/// A pull request, named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullRequestLink {
    /// Its number in the project.
    pub number: u64,
    /// Where a person sees it.
    pub url: String,
}

/// One step of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Its name.
    #[schemars(with = "String")]
    pub id: StepId,
    /// How many containers it stands in.
    #[serde(default)]
    pub depth: u32,
    /// `run`, `agent`, `pull_request`, `readiness`, `report`, `end`, `wait` or `approve`; or the container
    /// `parallel`, `for_each`, `until` or `call`.
    pub kind: String,
    /// The command, the prompt or the title: what it does, in the task's own words.
    pub text: String,
    /// The agent, for an `agent` step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harness: Option<String>,
    /// `pending`, `running`, `backoff`, `resting`, `asked`, `decided`, `succeeded`, `failed` or `skipped`.
    pub state: String,
    /// Why it failed or was skipped, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Attempts begun.
    pub attempts: u32,
    /// When the newest attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    /// When the step ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
    /// The commit of the work tree after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// The values that it gave.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, serde_json::Value>,
    /// What a `report` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
    /// What an `approve` asks, in `text`, of whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<Asks>,
}

/// What a `report` step says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// One line.
    pub title: String,
    /// Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Of whom an `approve` step asks, and what was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Asks {
    /// The least role that may decide.
    pub by_role: String,
    /// Until when, if not as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// `approved`, `declined` or `timed_out`, once it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// In the words of who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// `POST /api/v1/jobs/{job}/decide`: decides on a step that asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// The step; it need not be named where only one asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// True if it goes on.
    pub approve: bool,
    /// For those who read it later, and for the steps after it.
    #[serde(default)]
    pub note: String,
}

/// An outward write of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Effect {
    /// What makes it the same write.
    pub key: String,
    /// `push` or `pull_request`.
    pub kind: String,
    /// The step that wants it.
    #[schemars(with = "String")]
    pub step_id: StepId,
    /// `staged`, `granted`, `done`, `failed` or `unknown`.
    pub state: String,
    /// What came of it, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// One entry of a job's journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobEvent {
    /// Its place in the job's journal, from 1. What `Last-Event-ID` carries.
    pub seq: u64,
    /// When it happened.
    pub at: i64,
    /// Who caused it.
    pub by: Who,
    /// What happened: an event of the job machine, tagged by its key `event`.
    pub event: serde_json::Value,
}

/// Which entries of a stream are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamQuery {
    /// The attempt of the step, from 1; absent means the newest. Only for logs and sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Only what comes after this number (a byte offset for a log). 0 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most so many entries (bytes for a log).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A piece of a step's output, as a stream of events carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogPiece {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// The text. Bytes that are not UTF-8 are shown as U+FFFD; the log itself has them as they were.
    pub text: String,
}
