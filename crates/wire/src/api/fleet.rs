//! Fleets: runs over many targets, in rings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_run::{JobId, ProjectId, RunId};

use super::{Who, pull_request::MergeMethod};

/// A fleet as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FleetSummary {
    /// The run.
    #[schemars(with = "String")]
    pub id: RunId,
    /// The run in one line.
    pub title: String,
    /// Who started it.
    pub started_by: Who,
    /// `going`, `held` (paused, or stopped by a rule), `settled` (all jobs have ended) or `cancelled`.
    pub state: String,
    /// How its targets stand.
    pub counts: Counts,
    /// How its changes stand.
    pub changes: Changes,
    /// When it was made.
    pub created_at: i64,
    /// When it last changed.
    pub changed_at: i64,
}

/// How targets stand, as counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// All of them.
    pub targets: u32,
    /// Not begun, or to be begun again.
    pub planned: u32,
    /// With a job that has not ended.
    pub running: u32,
    /// Ended well.
    pub succeeded: u32,
    /// Had nothing to do.
    pub skipped: u32,
    /// Failed, gave up or were cancelled.
    pub failed: u32,
}

/// How changes stand, as counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// Waiting for a reviewer.
    pub open: u32,
    /// Sent back.
    pub sent_back: u32,
    /// Approved, not merged.
    pub approved: u32,
    /// Merged.
    pub merged: u32,
    /// Closed without being merged.
    pub closed: u32,
    /// Those that were verified, among all.
    pub verified: u32,
}

/// A fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fleet {
    /// What a list shows of it.
    #[serde(flatten)]
    pub summary: FleetSummary,
    /// Where a person sees it.
    pub url: String,
    /// Why nothing more is begun, where somebody or a rule holds it or stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Why no more is begun now than is, for a person; absent if nothing stands in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// When time alone may change that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<i64>,
    /// The newest open ring, from 0.
    pub ring: u16,
    /// The rings, in order.
    pub rings: Vec<Ring>,
    /// Failures by kind, the most first.
    pub failures: Vec<Failures>,
    /// What the stop rules have seen.
    pub stop_rules: Vec<StopRule>,
    /// What all jobs have used, with the limits.
    pub spent: Spent,
    /// How it is to go, in the machine's words.
    pub plan: serde_json::Value,
    /// What the targets were chosen by.
    pub selected: serde_json::Value,
    /// What was done to many changes, newest first.
    pub operations: Vec<Operation>,
    /// What happened to it as a whole, newest first.
    pub history: Vec<Happened>,
    /// How it came along, minute by minute. Minutes in which nothing changed are left out.
    pub burn_down: Vec<Point>,
}

/// Why nothing more is begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// Who; absent if a stop rule did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Who>,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: i64,
}

/// A ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ring {
    /// Its place, from 0.
    pub ring: u16,
    /// What the plan calls it: `10`, `10%`, `rest`, or the canaries' label.
    pub name: String,
    /// Whether its targets may be begun.
    pub is_open: bool,
    /// The first of its targets.
    pub first: u32,
    /// How its targets stand.
    pub counts: Counts,
    /// How its changes stand.
    pub changes: Changes,
    /// What it lacks before the next one is opened, for a person.
    pub unmet: Vec<String>,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failures {
    /// What they are counted as: the code of the jobs' ends.
    pub kind: String,
    /// Whose trouble it is: `red`, `conflict`, `unreachable`, `gave_up`, `limit`, `platform`, `stopped`, `other`.
    pub trouble: String,
    /// That in words.
    pub what: String,
    /// How many targets.
    pub targets: u32,
}

/// A stop rule and what it has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StopRule {
    /// The rule, for a person.
    pub rule: String,
    /// How many were bad.
    pub bad: u32,
    /// Of how many.
    pub of: u32,
    /// With how many bad ones, of as many, it would stop the fleet; absent if with none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stops_at: Option<u32>,
}

/// What all jobs have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spent {
    /// Tokens.
    pub tokens: u64,
    /// How many there are; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_limit: Option<u64>,
    /// How many all targets are likely to use, by the mean of the jobs that ended; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_forecast: Option<u64>,
}

/// Something that is done to many changes, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Operation {
    /// Its number within the fleet, from 1.
    pub number: u32,
    /// `approve`, `merge`, `close` or `send_back`.
    pub what: String,
    /// To how many changes.
    pub of: u32,
    /// How many are through, well or not.
    pub through: u32,
    /// With which it went badly, and why.
    pub failures: Vec<OperationFailure>,
    /// Who asked.
    pub by: Who,
    /// When.
    pub at: i64,
    /// When the last one was through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
}

/// A change that something could not be done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationFailure {
    /// The target.
    pub target: u32,
    /// Why.
    pub why: String,
}

/// Something that happened to a fleet as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Happened {
    /// When.
    pub at: i64,
    /// Who.
    pub by: Who,
    /// What, for a person.
    pub what: String,
}

/// How a fleet stood at the end of a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// The minute's begin.
    pub at: i64,
    /// Targets not begun.
    pub planned: u32,
    /// With a job that has not ended.
    pub running: u32,
    /// That ended well or had nothing to do.
    pub succeeded: u32,
    /// That did not.
    pub failed: u32,
    /// Changes neither merged nor closed.
    pub open: u32,
    /// Changes merged.
    pub merged: u32,
}

/// A target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Its place within the fleet, from 0.
    pub target: u32,
    /// Its ring, from 0.
    pub ring: u16,
    /// The project.
    #[schemars(with = "String")]
    pub project_id: ProjectId,
    /// The project's name when the fleet was made.
    pub repository: String,
    /// `planned`, `running`, or the outcome of the newest job.
    pub state: String,
    /// How many times it was begun.
    pub attempt: u32,
    /// The newest job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub job_id: Option<JobId>,
    /// What its failure is counted as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whose trouble it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The number of its pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<u64>,
    /// How its change stands: `open`, `sent_back`, `approved`, `merged` or `closed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// Whether that was verified.
    pub verified: bool,
    /// The cluster that its change was in when somebody last looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

/// Which targets are wanted. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetsQuery {
    /// `next` of the page before; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many entries, 1 to 200. 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those of this ring, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<u16>,
    /// Only those that stand so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only those with this trouble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Only those whose failure is counted as this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only those whose change is in this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Only those whose change stands so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

/// Changes that are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cluster {
    /// Its name.
    pub id: String,
    /// Whether somebody split it off.
    pub by_hand: bool,
    /// The repository whose change stands for all, with its pull request.
    pub exemplar: ChangeRef,
    /// How many changes.
    pub changes: u32,
    /// How they stand.
    pub stands: Changes,
    /// How many variants there are among them.
    pub variants: u32,
    /// What differs among them, in words.
    pub spread: Vec<String>,
    /// Those that a reviewer should see for themselves, the oddest first.
    pub outliers: Vec<Outlier>,
    /// Its changes, the nearest to the exemplar first. Only of one cluster that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
    /// The members to look at so that, if all of them and the outliers are good, fewer than 5 % of the cluster are
    /// bad with 95 % confidence. Only of one cluster that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sample: Vec<ChangeRef>,
}

/// A change of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeRef {
    /// The target.
    pub target: u32,
    /// The project's name.
    pub repository: String,
    /// The number of the pull request.
    pub pull_request: u64,
    /// How it stands.
    pub change: String,
}

/// A change of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Which.
    #[serde(flatten)]
    pub change: ChangeRef,
    /// How far it is from the exemplar: 0 is the same, 1 has nothing in common.
    pub distance: f64,
}

/// A change that is odd for its cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outlier {
    /// Which.
    #[serde(flatten)]
    pub change: ChangeRef,
    /// Why, in words.
    pub why: Vec<String>,
}

/// A command with a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Because {
    /// Why, for those who read it later.
    #[serde(default)]
    pub reason: String,
}

/// Plans failed targets again: all but those that somebody cancelled, unless one of these is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryFleet {
    /// Only those whose failure is counted as this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only those with this trouble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What the new jobs are told beside the old task: agents as text, steps as `target.instruction`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
}

/// Does something to many changes, one after the other. Each is done only if the change is still the one that was
/// there when this was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperateOn {
    /// Only the changes of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Only the changes of these targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<u32>,
    /// With a cluster: its outliers too, which are left out otherwise.
    #[serde(default)]
    pub outliers: bool,
    /// What is said with it.
    #[serde(default)]
    pub body: String,
    /// How is merged.
    #[serde(default)]
    pub method: MergeMethod,
}

/// What was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Begun {
    /// The operation's number within the fleet.
    pub operation: u32,
    /// To how many changes it is done.
    pub of: u32,
}

/// Splits changes off their clusters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitOff {
    /// What the new cluster is called.
    pub name: String,
    /// The targets whose changes it has.
    pub targets: Vec<u32>,
}
