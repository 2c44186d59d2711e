//! What happened at a code host, in one form for all hosts. Only what a trigger or a follow-up can
//! use; all text is untrusted, and who caused it is kept apart from what it says.

use windlass_git::Oid;

use crate::RepositoryName;
use crate::forge::{Side, State, Verdict};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Event {
    /// The host's own name of the event, such as `pull_request`.
    pub name: String,
    /// The host's own name of what was done, such as `opened`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Where; absent for events of a whole organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
    /// Whether that repository is private; `None` if the event does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<bool>,
    /// Who caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// What it is about.
    pub subject: Subject,
}

/// Who caused an event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Actor {
    /// The name at the host.
    pub login: String,
    /// The host's number of the account, which a rename does not change.
    pub id: u64,
    /// Whether it is a program.
    pub bot: bool,
    /// What the author of the text is to the repository, where the host says so: the base of how
    /// far the text is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub association: Option<Association>,
}

/// What somebody is to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Association {
    /// Owns it.
    Owner,
    /// Is in the organisation that owns it.
    Member,
    /// Was invited to it.
    Collaborator,
    /// Has had work merged.
    Contributor,
    /// Anybody else.
    Stranger,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// The host tries the connection.
    Ping,
    /// A branch or tag moved.
    Push(Push),
    /// A pull request.
    PullRequest(PullRequest),
    /// A review of a pull request.
    Review {
        /// The pull request.
        pull_request: PullRequest,
        /// The verdict; `None` for a dismissed or pending one.
        verdict: Option<Verdict>,
        /// Its words.
        body: String,
        /// The commit that was looked at.
        commit: Option<Oid>,
    },
    /// A comment on an issue, a pull request, a line or a commit.
    Comment(Comment),
    /// An issue.
    Issue(Issue),
    /// A check, a workflow or a commit status.
    Check(Check),
    /// Something that nothing here needs the inside of.
    Other,
}

/// A branch or tag moved.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Push {
    /// The full name of the reference.
    pub reference: String,
    /// Where it was; `None` if it was made now.
    pub before: Option<Oid>,
    /// Where it is; `None` if it was deleted.
    pub after: Option<Oid>,
    /// Whether history was rewritten.
    pub forced: bool,
    /// Whether it is the default branch.
    pub default_branch: bool,
    /// The paths that its commits say they touched, in order, without repetition.
    pub paths: Vec<String>,
}

/// A pull request in an event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// Where it stands.
    pub state: State,
    /// Whether it is not ready for review yet.
    pub draft: bool,
    /// The branch to merge into.
    pub base: String,
    /// The branch with the work.
    pub head: String,
    /// Its newest commit.
    pub head_commit: Option<Oid>,
    /// Whether the work is in another repository than the base: its author may be anybody.
    pub from_fork: bool,
    /// Its labels.
    pub labels: Vec<String>,
    /// The page that people see.
    pub url: String,
}

/// A comment in an event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Comment {
    /// The host's id.
    pub id: u64,
    /// The issue or pull request; `None` for a comment on a commit.
    pub number: Option<u64>,
    /// Whether `number` is a pull request.
    pub on_pull_request: bool,
    /// Markdown.
    pub body: String,
    /// The line, if it is about one.
    pub place: Option<CommentPlace>,
    /// The page that people see.
    pub url: String,
}

/// A line that a comment is about.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CommentPlace {
    /// The file.
    pub path: String,
    /// The side of the difference.
    pub side: Side,
    /// The line; `None` once it is outdated, or for the whole file.
    pub line: Option<u32>,
    /// The commit that it was seen on.
    pub commit: Option<Oid>,
}

/// An issue in an event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Issue {
    /// Its number.
    pub number: u64,
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// Whether it is open.
    pub open: bool,
    /// Its labels.
    pub labels: Vec<String>,
    /// The page that people see.
    pub url: String,
}

/// A check in an event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Check {
    /// Its name or context.
    pub name: String,
    /// The commit.
    pub commit: Option<Oid>,
    /// The branch, where the host says it.
    pub branch: Option<String>,
    /// How it stands.
    pub outcome: Outcome,
    /// The pull requests that it is about, where the host says them.
    pub pull_requests: Vec<u64>,
    /// A page with more.
    pub url: Option<String>,
}

/// How a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It runs or waits.
    Pending,
    /// All is well.
    Success,
    /// The work is at fault.
    Failure,
    /// It was not needed, was skipped, or says nothing either way.
    Neutral,
    /// It was stopped, ran out of time, or broke.
    Stopped,
}
