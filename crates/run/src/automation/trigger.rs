//! What starts an automation: the `on` of its file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Name, glob::Glob};
use crate::{
    Duration, event::Trust, expression::Expression, job::Outcome, schedule::ScheduleSettings,
    spec::Given, template::Text,
};

/// One entry of `on`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trigger {
    /// What it waits for.
    pub on: On,
    /// The event starts something only if this holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Expression>,
    /// How far the text of the event must be trusted at least.
    pub trust: Trust,
    /// Two events for which this text is the same are one, within [`dedup_for`](Self::dedup_for); absent:
    /// events are one if their source, kind, subject and data are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup: Option<Text>,
    /// For how long an event is remembered for that.
    pub dedup_for: Duration,
    /// How long it pays no attention to events of the same subject after one that started something.
    pub cooldown: Duration,
    /// How often it starts something at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// What the inputs are, from the event.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Given>,
    /// The name of the user or service token on whose behalf it runs; absent: who applied the automation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as: Option<String>,
}

/// What a trigger waits for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// Somebody who asks.
    Manual,
    /// A time.
    Schedule(ScheduleSettings),
    /// A branch that moved.
    Push {
        /// Which branches; empty means the project's default branch.
        branches: Vec<Glob>,
        /// Only if one of these paths was touched; empty means any.
        paths: Vec<Glob>,
    },
    /// A tag that was made or moved.
    Tag {
        /// Which tags; empty means any.
        names: Vec<Glob>,
    },
    /// A pull request.
    PullRequest {
        /// What was done: the words after the dot of the event's kind; empty means `opened`, `reopened`,
        /// `synchronize` and `ready_for_review`.
        actions: Vec<String>,
        /// Into which branches; empty means any.
        branches: Vec<Glob>,
        /// Only with one of these labels; empty means any or none.
        labels: Vec<String>,
        /// Whether drafts count.
        drafts: bool,
    },
    /// A review of a pull request.
    Review {
        /// Which verdicts: `approved`, `changes_requested`, `commented`; empty means any.
        verdicts: Vec<String>,
    },
    /// A comment.
    Comment {
        /// The word after the `/` of a line of its own, such as `windlass`; absent means any comment.
        command: Option<String>,
        /// Under what.
        under: CommentOn,
    },
    /// An issue.
    Issue {
        /// What was done; empty means `opened`.
        actions: Vec<String>,
        /// Only with one of these labels; empty means any or none.
        labels: Vec<String>,
    },
    /// A check, a workflow or a commit status that ended.
    Check {
        /// How: `success`, `failure`, `neutral`, `stopped`; empty means `failure`.
        outcomes: Vec<String>,
        /// Which; empty means any.
        names: Vec<Glob>,
    },
    /// A release.
    Release {
        /// What was done; empty means `published`.
        actions: Vec<String>,
    },
    /// A delivery at a hook.
    Webhook {
        /// The hook's name.
        source: String,
    },
    /// The end of a run of another automation.
    Automation {
        /// Which.
        name: Name,
        /// How it ended; empty means any way.
        outcomes: Vec<Outcome>,
    },
    /// A known weakness of something that a project depends on.
    Advisory {
        /// Of which registries, as OSV names them; empty means all.
        ecosystems: Vec<String>,
        /// At least how bad.
        severity: Severity,
        /// Of which packages; empty means any.
        packages: Vec<Glob>,
    },
    /// A file of a project that is not as it should be.
    Drift {
        /// Which file.
        path: String,
        /// What it should match: a condition over `file.exists`, `file.text`, `file.sha256`.
        expect: Expression,
        /// When it is looked at, besides on every push.
        #[serde(skip_serializing_if = "Option::is_none")]
        schedule: Option<ScheduleSettings>,
    },
    /// What a cheap command says, if it changes.
    Watch {
        /// The command. It runs in an environment without the project's definition, and prints what is
        /// compared with the last time.
        command: String,
        /// When it is looked at.
        schedule: ScheduleSettings,
        /// How long it may take.
        timeout: Duration,
    },
}

/// Under what a comment stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommentOn {
    /// Anything.
    #[default]
    Any,
    /// An issue.
    Issue,
    /// A pull request.
    PullRequest,
}

/// How bad a weakness is, the least first: the words of CVSS 3 for its base score
/// (<https://www.first.org/cvss/v3.1/specification-document>, section 5).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is known of how bad it is.
    #[default]
    Unknown,
    /// A score from 0.1.
    Low,
    /// A score from 4.0.
    Medium,
    /// A score from 7.0.
    High,
    /// A score from 9.0.
    Critical,
}

/// So many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many.
    pub most: u32,
    /// In which time.
    pub per: Duration,
}

/// What keeps runs apart that would be at the same thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Concurrency {
    /// What they would be at: of runs with the same text, one goes on at a time. Worked out for each job
    /// where it speaks of the target, else once for the run.
    pub key: Text,
    /// What becomes of a newcomer.
    pub when_busy: WhenBusy,
}

/// What becomes of a run that finds another at the same thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenBusy {
    /// It waits.
    #[default]
    Queue,
    /// It does not start.
    Skip,
    /// The other one is cancelled.
    Cancel,
}

impl On {
    /// The word of the file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Schedule(_) => "schedule",
            Self::Push { .. } => "push",
            Self::Tag { .. } => "tag",
            Self::PullRequest { .. } => "pull_request",
            Self::Review { .. } => "review",
            Self::Comment { .. } => "comment",
            Self::Issue { .. } => "issue",
            Self::Check { .. } => "check",
            Self::Release { .. } => "release",
            Self::Webhook { .. } => "webhook",
            Self::Automation { .. } => "automation",
            Self::Advisory { .. } => "advisory",
            Self::Drift { .. } => "drift",
            Self::Watch { .. } => "watch",
        }
    }

    /// How far the text of an event must be trusted where the file does not say: text of people who may
    /// not write to the repository starts nothing unless the file asks for it.
    pub(super) fn least_trust(&self) -> Trust {
        match self {
            Self::Manual | Self::Schedule(_) | Self::Automation { .. } | Self::Advisory { .. } => {
                Trust::Public
            }
            _ => Trust::Member,
        }
    }
}
