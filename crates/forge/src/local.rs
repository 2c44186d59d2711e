//! The rules of the forge that is built in. Pure: commands and facts go in, events come out, and
//! the state is what the events say. Rows are in `store`, endpoints in `server`, and git work is
//! done by the server between two commands (see [`Command::Merge`]).
//!
//! Who may give which command is decided before it gets here. What git knows (does it merge, what
//! is the head) comes in as part of a command; nothing here looks.

use std::collections::BTreeMap;

use windlass_git::merge::Method;
use windlass_git::{Oid, RefName};

use crate::forge::{State, Verdict};

mod apply;
mod decide;
mod place;
mod storage;
pub mod told;

pub use apply::fold;
pub use decide::{BODY_BYTES, COMMENTS, Refusal, TITLE_BYTES, decide, open};
pub use place::{Carried, Place, carry};
pub use storage::{ExecuteError, Storage, StorageError, execute};

/// Who did something: the kind of account (`user`, `token`, `system`, ...) and its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Author {
    /// The kind of account.
    pub kind: String,
    /// Its id.
    pub id: String,
}

/// What a project asks of its pull requests before a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rules {
    /// How many reviewers must have approved the very head that is merged.
    pub approvals: u32,
    /// Whether a request for changes on this head stands in the way until its author approves.
    pub changes_requested_blocks: bool,
    /// Whether the one who opened it may count as a reviewer.
    pub own_approval_counts: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { approvals: 0, changes_requested_blocks: true, own_approval_counts: true }
    }
}

/// A pull request, whole.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PullRequest {
    /// Its number in the project, from 1.
    pub number: u64,
    /// The project's id.
    pub project: String,
    /// One line.
    pub title: String,
    /// Markdown; untrusted.
    pub body: String,
    /// The branch to merge into.
    pub base: RefName,
    /// The branch with the work.
    pub head: RefName,
    /// The newest commit of the head.
    pub head_commit: Oid,
    /// The commit that base and head had in common when the head last moved.
    pub base_commit: Oid,
    /// Where it stands.
    pub state: State,
    /// Who opened it.
    pub opened_by: Author,
    /// When, in microseconds since the Unix epoch.
    pub opened_at: i64,
    /// The states that the head has had, oldest first; never empty.
    pub rounds: Vec<Round>,
    /// Reviews, oldest first.
    pub reviews: Vec<Review>,
    /// Comments by id.
    pub comments: BTreeMap<String, Comment>,
    /// A merge that was decided and is being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merging: Option<Merging>,
    /// How it was merged, once it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<Merged>,
}

impl PullRequest {
    /// The newest word of each reviewer on the head as it is now.
    pub fn verdicts(&self) -> BTreeMap<&Author, Verdict> {
        let on_head = self.reviews.iter().filter(|review| {
            review.commit == self.head_commit && review.verdict != Verdict::Comment
        });
        on_head.map(|review| (&review.by, review.verdict)).collect()
    }

    /// The newest verdict on the head as it is now, for a list.
    pub fn review(&self) -> Option<Verdict> {
        let mut on_head = self.reviews.iter().rev();
        let newest = on_head.find(|review| {
            review.commit == self.head_commit && review.verdict != Verdict::Comment
        })?;
        Some(newest.verdict)
    }

    /// Comments in the order in which they were written.
    pub fn conversation(&self) -> Vec<(&str, &Comment)> {
        let mut comments: Vec<(&str, &Comment)> =
            self.comments.iter().map(|(id, comment)| (id.as_str(), comment)).collect();
        comments.sort_by(|(a_id, a), (b_id, b)| (a.at, a_id).cmp(&(b.at, b_id)));
        comments
    }

    /// The round that the head is in, from 1.
    pub fn round(&self) -> u32 {
        u32::try_from(self.rounds.len()).unwrap_or(u32::MAX)
    }
}

/// One state of the head.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Round {
    /// From 1.
    pub number: u32,
    /// The commit of the head.
    pub head_commit: Oid,
    /// The commit that base and head had in common.
    pub base_commit: Oid,
    /// The job that pushed it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// When, in microseconds since the Unix epoch.
    pub at: i64,
}

/// A review.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Review {
    /// Who.
    pub by: Author,
    /// When, in microseconds since the Unix epoch.
    pub at: i64,
    /// The verdict.
    pub verdict: Verdict,
    /// Markdown; may be empty.
    pub body: String,
    /// The head that was looked at.
    pub commit: Oid,
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Comment {
    /// Who.
    pub by: Author,
    /// When, in microseconds since the Unix epoch.
    pub at: i64,
    /// Markdown; untrusted.
    pub body: String,
    /// Where it was written; `None` for the whole pull request, and for answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Where that line is on the head as it is now; `None` if the line is gone (the comment is
    /// outdated) or if the comment has no place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<Place>,
    /// The comment that it answers, which is no answer itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<String>,
    /// Who settled the thread that it began, if it is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_by: Option<Author>,
    /// The job that it was sent to as a follow-up turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_to: Option<String>,
}

impl Comment {
    /// Whether the line that it was about is gone.
    pub fn is_outdated(&self) -> bool {
        self.place.is_some() && self.now.is_none()
    }
}

/// A merge that was decided. Everything that goes into the merge commit is here, so doing it twice
/// gives the same commit: after a crash the server does it again.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Merging {
    /// How.
    pub method: Method,
    /// The head that is merged.
    pub head_commit: Oid,
    /// Where the base branch was, and must still be when it is moved.
    pub base_tip: Oid,
    /// The message of the commit.
    pub message: String,
    /// Who merges.
    pub by: Author,
    /// When it was decided: the time of the commit.
    pub at: i64,
}

/// How it was merged.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Merged {
    /// The commit that the base branch moved to.
    pub commit: Oid,
    /// How.
    pub method: Method,
    /// Who.
    pub by: Author,
    /// When.
    pub at: i64,
}

/// What is needed to open a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The number that it gets.
    pub number: u64,
    /// The project's id.
    pub project: String,
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// The branch to merge into.
    pub base: RefName,
    /// The branch with the work.
    pub head: RefName,
    /// The commit of the head.
    pub head_commit: Oid,
    /// The commit that base and head have in common.
    pub base_commit: Oid,
    /// The job that pushed the head, where one did.
    pub job: Option<String>,
}

/// What somebody wants, or what the server has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Seen: the head branch is at another commit.
    HeadMoved {
        /// The commit.
        head_commit: Oid,
        /// The commit that base and head have in common now.
        base_commit: Oid,
        /// The job that pushed it, where one did.
        job: Option<String>,
        /// Where the lines of comments went: see [`carry`].
        carried: Vec<Carried>,
    },
    /// Change title or body.
    Edit {
        /// A new title.
        title: Option<String>,
        /// A new body.
        body: Option<String>,
    },
    /// Write a comment. The id is made by the caller and makes the command safe to repeat.
    Comment {
        /// The comment's id.
        id: String,
        /// Markdown.
        body: String,
        /// Where; the commit in it is the head that was looked at.
        place: Option<Place>,
        /// The comment that it answers.
        answers: Option<String>,
    },
    /// Settle a thread, or open it again.
    Settle {
        /// The comment that began it.
        comment: String,
        /// Whether it is settled.
        settled: bool,
    },
    /// Done: comments were sent to a job as a follow-up turn.
    Sent {
        /// The comments.
        comments: Vec<String>,
        /// The job.
        job: String,
    },
    /// Review the head.
    Review {
        /// The verdict.
        verdict: Verdict,
        /// Markdown.
        body: String,
        /// The head that was looked at.
        commit: Oid,
    },
    /// Merge. What comes of it is an event that names everything for git; the server then does it
    /// ([`windlass_git::Repository::merge`], then the base branch from `base_tip`), and says
    /// [`Command::MergeDone`] or [`Command::MergeFailed`].
    Merge {
        /// How.
        method: Method,
        /// The head that was looked at.
        commit: Oid,
        /// Where the base branch is now.
        base_tip: Oid,
        /// The paths in conflict, as git just said.
        conflicts: Vec<String>,
        /// The message; a sensible one if `None`.
        message: Option<String>,
    },
    /// Done: the base branch is at the merged commit.
    MergeDone {
        /// Where the base branch moved to.
        commit: Oid,
    },
    /// Seen: the merge that was decided cannot be done after all.
    MergeFailed {
        /// Why, for a person.
        reason: String,
    },
    /// Close without merging.
    Close,
    /// Open again.
    Reopen,
}

/// Something that happened to a pull request.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Event {
    /// When, in microseconds since the Unix epoch.
    pub at: i64,
    /// Who.
    pub by: Author,
    /// What.
    #[serde(flatten)]
    pub what: Happened,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are those of the commands and of the state")]
pub enum Happened {
    Opened {
        number: u64,
        project: String,
        title: String,
        body: String,
        base: RefName,
        head: RefName,
        head_commit: Oid,
        base_commit: Oid,
        job: Option<String>,
    },
    RoundBegan {
        number: u32,
        head_commit: Oid,
        base_commit: Oid,
        job: Option<String>,
        carried: Vec<Carried>,
    },
    Edited {
        title: Option<String>,
        body: Option<String>,
    },
    Commented {
        id: String,
        body: String,
        place: Option<Place>,
        answers: Option<String>,
    },
    Settled {
        comment: String,
        settled: bool,
    },
    Sent {
        comments: Vec<String>,
        job: String,
    },
    Reviewed {
        verdict: Verdict,
        body: String,
        commit: Oid,
    },
    MergeBegan {
        method: Method,
        head_commit: Oid,
        base_tip: Oid,
        message: String,
    },
    MergeAbandoned {
        reason: String,
    },
    Merged {
        commit: Oid,
    },
    Closed,
    Reopened,
}
