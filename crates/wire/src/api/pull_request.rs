//! Pull requests: on the local forge, and those that jobs opened elsewhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_run::{JobId, ProjectId, RunId};

use super::Who;

/// A pull request as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullRequestSummary {
    /// The project.
    #[schemars(with = "String")]
    pub project_id: ProjectId,
    /// The project's name.
    pub project: String,
    /// The number in the project, from 1.
    pub number: u64,
    /// The title.
    pub title: String,
    /// `open`, `merged` or `closed`.
    pub state: String,
    /// `none`, `approved` or `changes_requested`: the newest word of a reviewer on this head.
    pub review: String,
    /// The branch that the change is meant for.
    pub base: String,
    /// The branch that has the change.
    pub head: String,
    /// The commit that `head` points to.
    pub head_commit: String,
    /// Who opened it.
    pub opened_by: Who,
    /// When it was opened.
    pub created_at: i64,
    /// When it last changed.
    pub updated_at: i64,
    /// Where a person sees it.
    pub url: String,
}

/// A pull request with its conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PullRequest {
    /// What a list shows of it.
    #[serde(flatten)]
    pub summary: PullRequestSummary,
    /// The body, Markdown, untrusted.
    pub body: String,
    /// Whether it can be merged now.
    pub mergeable: Mergeable,
    /// Where the host shows it, for a project whose pull requests are elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_url: Option<String>,
    /// The merge commit, once merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_commit: Option<String>,
    /// Each push that changed the head, oldest first.
    pub rounds: Vec<Round>,
    /// Its commits, oldest first.
    pub commits: Vec<Commit>,
    /// The conversation, oldest first.
    pub comments: Vec<Comment>,
    /// The reviews, oldest first.
    pub reviews: Vec<Review>,
}

/// Whether a pull request can be merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mergeable {
    /// True if it can.
    pub can: bool,
    /// Why not, for a person: conflicts, closed already, base gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// The files in conflict.
    #[serde(default)]
    pub conflicts: Vec<String>,
}

/// One state of the head: what one job pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Round {
    /// From 1.
    pub number: u32,
    /// The commit of the head.
    pub head_commit: String,
    /// The commit that the base had.
    pub base_commit: String,
    /// The job that pushed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub job_id: Option<JobId>,
    /// When.
    pub at: i64,
}

/// A commit of a pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commit {
    /// The full id.
    pub id: String,
    /// The first line of the message.
    pub title: String,
    /// The author's name.
    pub author: String,
    /// When it was written.
    pub at: i64,
}

/// Which side of a diff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Before the change.
    Old,
    /// After the change.
    New,
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Comment {
    /// Its id, unique in the pull request.
    pub id: String,
    /// Who wrote it.
    pub by: Who,
    /// Markdown, untrusted.
    pub body: String,
    /// Where in the diff; absent for a general comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// True if the line that it was about is gone; `place` is then where it was.
    #[serde(default)]
    pub is_outdated: bool,
    /// When.
    pub at: i64,
    /// The job that it was sent to as a follow-up turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub sent_to: Option<JobId>,
}

/// A line of a diff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The file's path on that side.
    pub path: String,
    /// The side.
    pub side: Side,
    /// The line on that side, from 1.
    pub line: u32,
    /// The head commit that the line was seen on; absent in a request means the head now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// A reviewer's verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Review {
    /// Who.
    pub by: Who,
    /// `approved` or `changes_requested`.
    pub verdict: String,
    /// Markdown, untrusted; may be empty.
    pub body: String,
    /// The head commit that it is about.
    pub commit: String,
    /// When.
    pub at: i64,
}

/// Which pull requests are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PullRequestsQuery {
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
}

/// Which diff is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffQuery {
    /// What changed since this round; absent means since the base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_round: Option<u32>,
    /// Up to this round; absent means the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_round: Option<u32>,
}

/// Writes a comment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewComment {
    /// Markdown, 1 to 65,536 bytes.
    pub body: String,
    /// Where in the diff; absent for a general comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// Says what a reviewer thinks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReview {
    /// Markdown; may be empty for an approval.
    #[serde(default)]
    pub body: String,
    /// The head commit that was looked at. If the head moved meanwhile, the review is refused.
    /// Absent means whatever the head is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// How to merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MergeMethod {
    /// A merge commit.
    #[default]
    Merge,
    /// One commit with all changes.
    Squash,
    /// The commits, put on top of the base.
    Rebase,
}

/// Merges a pull request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// How.
    #[serde(default)]
    pub method: MergeMethod,
    /// The head commit that was looked at. If the head moved meanwhile, the merge is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// For a project from a path: also move the base branch in that repository, if that is a
    /// fast-forward and the branch is not checked out in any work tree.
    #[serde(default)]
    pub update_source: bool,
}

/// What came of a merge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Merged {
    /// The commit that the base points to now.
    pub commit: String,
    /// For a project from a path: what became visible there, or why not.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Makes a change visible in the repository that a project was added from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Published {
    /// The branch in that repository.
    pub branch: String,
    /// The commit that it points to.
    pub commit: String,
}

/// Sends comments back to the agent as a follow-up turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowUp {
    /// The ids of the comments to send; empty means all that were not sent yet.
    #[serde(default)]
    pub comments: Vec<String>,
    /// Something to add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The follow-up turn that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FollowUpStarted {
    /// The run.
    #[schemars(with = "String")]
    pub run_id: RunId,
    /// Its job, which continues the one that made the head.
    #[schemars(with = "String")]
    pub job_id: JobId,
    /// How many comments were sent.
    pub comments: u32,
}
