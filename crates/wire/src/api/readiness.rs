//! How ready projects are for agents: one entry for each time that it was found out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_run::{JobId, RunId, StepId};

pub use windlass_readiness::{
    Phase, Report,
    observe::Tests,
    report::{CommandRun, Missing, Need, ProposedFile, Recognised, Steady, ToolFound},
    score::{Part, Score},
};

/// What one `readiness` step found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// The job.
    #[schemars(with = "String")]
    pub job_id: JobId,
    /// Its run.
    #[schemars(with = "String")]
    pub run_id: RunId,
    /// The step.
    #[schemars(with = "String")]
    pub step_id: StepId,
    /// When the server took the report.
    pub at: i64,
    /// What was found.
    pub report: Report,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadinessQuery {
    /// `next` of the page before; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many entries, 1 to 200. 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only the report of this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub job: Option<JobId>,
}
