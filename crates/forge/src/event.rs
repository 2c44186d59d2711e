//! What happened at a code host, in one form for all hosts: what webhooks of GitHub become, what the
//! local forge tells of itself, and what other hosts will. Only what a trigger or a follow-up can use;
//! all text is untrusted, and who caused it is kept apart from what it says.
//!
//! An [`Event`] as JSON is the `data` of the envelope that is stored ([`Event::envelope`]), so its field
//! names are those that filters and templates use: they are added to, never changed.

mod command;
mod envelope;

use serde_json::Value;
use windlass_git::Oid;

use crate::forge::{Side, State, Verdict};

pub use command::{Command, commands};
pub use envelope::Arrival;

/// Which code host tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Host {
    /// GitHub, or a server that speaks its API.
    Github,
    /// The forge that is built in.
    Local,
}

impl Host {
    /// Its word in files, sources and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Local => "local",
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Event {
    /// Which host tells it.
    #[serde(rename = "forge")]
    pub host: Host,
    /// The host's own name of the event, such as `pull_request`.
    #[serde(rename = "event")]
    pub name: String,
    /// The host's own name of what was done, such as `opened`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Where, as the host names it (`acme/api`); absent for events of a whole organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Whether that repository is private; `None` if the event does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<bool>,
    /// Who caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// What the author of the text in it is to the repository, where the host says so. Who labels an
    /// issue is not who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Association>,
    /// The number of the pull request, issue or discussion that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The label that was put on or taken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
}

/// Who caused an event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Actor {
    /// The name at the host.
    pub login: String,
    /// The host's id of the account, which a rename does not change.
    pub id: String,
    /// Whether it is a program.
    pub bot: bool,
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
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The host tries the connection.
    Ping {},
    /// A branch or tag moved, was made or deleted.
    Push(Push),
    /// A branch or tag was made or deleted, told apart from the push that did it.
    Reference(Reference),
    /// A pull request.
    PullRequest(PullRequest),
    /// A review of a pull request.
    Review(Review),
    /// A thread of comments on lines was settled or taken up again.
    Thread(Thread),
    /// A comment on an issue, a pull request, a line, a commit or a discussion.
    Comment(Comment),
    /// An issue.
    Issue(Issue),
    /// A check, a workflow or a commit status.
    Check(Check),
    /// A release.
    Release(Release),
    /// Something that nothing here needs the inside of.
    Other {
        /// What the host sent; `None` if it was too large to keep.
        payload: Option<Value>,
    },
}

/// A branch or tag moved.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Push {
    /// The full name of the reference.
    pub reference: String,
    /// The short name, if it is a branch.
    #[serde(default)]
    pub branch: Option<String>,
    /// The short name, if it is a tag.
    #[serde(default)]
    pub tag: Option<String>,
    /// Where it was; `None` if it was made now.
    pub before: Option<Oid>,
    /// Where it is; `None` if it was deleted.
    pub after: Option<Oid>,
    /// Whether history was rewritten.
    pub forced: bool,
    /// Whether it is the default branch.
    pub default_branch: bool,
    /// The message of its newest commit.
    #[serde(default)]
    pub message: Option<String>,
    /// The paths that its commits say they touched, in order, without repetition.
    pub paths: Vec<String>,
    /// Whether `paths` are all of them: hosts tell of some commits of a push, and here some paths.
    #[serde(default)]
    pub paths_complete: bool,
}

/// A branch or tag was made or deleted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reference {
    /// Its full name.
    pub reference: String,
    /// Whether it is gone.
    pub deleted: bool,
}

/// A review in an event. Of the pull request only what is no text of its author: a review is trusted
/// as far as the reviewer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Review {
    /// The pull request's number.
    pub number: u64,
    /// The verdict; `None` for a dismissed or pending one.
    pub verdict: Option<Verdict>,
    /// Its words.
    pub body: String,
    /// The commands in its words.
    #[serde(default)]
    pub commands: Vec<Command>,
    /// The commit that was looked at.
    pub commit: Option<Oid>,
    /// The page that people see.
    #[serde(default)]
    pub url: String,
}

/// A thread of comments in an event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Thread {
    /// The pull request's number.
    pub number: u64,
    /// Whether it is settled.
    pub settled: bool,
    /// The file that it is about, where it is about one.
    pub path: Option<String>,
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
    /// The issue, pull request or discussion; `None` for a comment on a commit.
    pub number: Option<u64>,
    /// Whether `number` is a pull request.
    pub on_pull_request: bool,
    /// Whether `number` is a discussion.
    #[serde(default)]
    pub on_discussion: bool,
    /// Markdown.
    pub body: String,
    /// The commands in it.
    #[serde(default)]
    pub commands: Vec<Command>,
    /// The line, if it is about one.
    pub place: Option<CommentPlace>,
    /// The commit, for a comment on one.
    #[serde(default)]
    pub commit: Option<Oid>,
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
    /// Whether the host says that the commit is on a branch of the repository itself, so that nobody
    /// from outside chose the name of the check.
    #[serde(default)]
    pub of_repository: bool,
}

/// A release in an event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Release {
    /// The short name of its tag.
    pub tag: String,
    /// One line; the tag if it has none.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// The branch or commit that the tag was made from, as the host says it.
    pub target: String,
    /// Whether only those who may write see it.
    pub draft: bool,
    /// Whether it is marked as not ready for everybody.
    pub prerelease: bool,
    /// The page that people see.
    pub url: String,
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
