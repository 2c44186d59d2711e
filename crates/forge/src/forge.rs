//! What every code host can do for us. Each call that writes can be repeated after a crash: it
//! looks for what it was to make, by head branch or by a marker, before it makes it.

use windlass_git::{Oid, RepoPath};

use crate::{RepositoryName, Result};

/// A code host, with the credential of one installation or person.
#[async_trait::async_trait]
pub trait Forge: Send + Sync {
    /// What the host says of a repository.
    async fn repository(&self, repository: &RepositoryName) -> Result<Repository>;

    /// Opens a pull request, or finds the open one of the same head branch and base.
    async fn open_or_find(
        &self,
        repository: &RepositoryName,
        new: &NewPullRequest,
    ) -> Result<Opened>;

    /// One pull request.
    async fn pull_request(&self, repository: &RepositoryName, number: u64) -> Result<PullRequest>;

    /// The open pull requests, newest first, at most `limit`; with `head` only those of that branch.
    async fn open_pull_requests(
        &self,
        repository: &RepositoryName,
        head: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PullRequest>>;

    /// Changes a pull request; what is `None` stays.
    async fn update(
        &self,
        repository: &RepositoryName,
        number: u64,
        update: &Update,
    ) -> Result<PullRequest>;

    /// Comments once: if a comment with this marker is there, that one is given back.
    async fn comment(
        &self,
        repository: &RepositoryName,
        number: u64,
        body: &str,
        marker: &str,
    ) -> Result<Comment>;

    /// The comments of the conversation, oldest first, at most `limit`.
    async fn comments(
        &self,
        repository: &RepositoryName,
        number: u64,
        limit: usize,
    ) -> Result<Vec<Comment>>;

    /// Reviews once, as [`Forge::comment`] comments once.
    async fn review(
        &self,
        repository: &RepositoryName,
        number: u64,
        review: &Review,
        marker: &str,
    ) -> Result<()>;

    /// Merges, if the head is still `expected_head`. A pull request that is merged already gives
    /// its merge commit.
    async fn merge(&self, repository: &RepositoryName, number: u64, merge: &Merge) -> Result<Oid>;

    /// Closes without merging. Nothing happens if it is closed.
    async fn close(&self, repository: &RepositoryName, number: u64) -> Result<PullRequest>;

    /// Opens again. Nothing happens if it is open.
    async fn reopen(&self, repository: &RepositoryName, number: u64) -> Result<PullRequest>;

    /// Sets the status of a commit under a context; a later one of the same context replaces it.
    async fn set_status(
        &self,
        repository: &RepositoryName,
        commit: &Oid,
        status: &Status,
    ) -> Result<()>;
}

/// A repository at a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// The name it has now: a host may have renamed it.
    pub name: RepositoryName,
    /// The default branch.
    pub default_branch: String,
    /// The address that git uses, without a credential.
    pub clone_url: String,
    /// The page that people see.
    pub url: String,
    /// Whether strangers can see it.
    pub private: bool,
    /// Whether it takes no changes any more.
    pub archived: bool,
    /// Whether the credential may push; `None` if the host does not say.
    pub can_push: Option<bool>,
}

/// A pull request to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPullRequest {
    /// The branch to merge into.
    pub base: String,
    /// The branch with the work, in the same repository.
    pub head: String,
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// Whether it is not ready for review yet.
    pub draft: bool,
    /// Labels to put on it; the host makes those it does not have.
    pub labels: Vec<String>,
}

/// A pull request that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// It.
    pub pull_request: PullRequest,
    /// Whether this call made it.
    pub created: bool,
}

/// Where a pull request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for review or merge.
    Open,
    /// Its work is in the base.
    Merged,
    /// It was closed without merging.
    Closed,
}

/// A pull request at a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// The page that people see.
    pub url: String,
    /// One line; untrusted.
    pub title: String,
    /// Markdown; untrusted.
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
    pub head_commit: Oid,
    /// Whether it could be merged without conflicts; `None` while the host does not know.
    pub mergeable: Option<bool>,
    /// The merge commit, once merged.
    pub merge_commit: Option<Oid>,
    /// Who opened it.
    pub author: Option<String>,
}

/// What to change of a pull request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// A new title.
    pub title: Option<String>,
    /// A new body.
    pub body: Option<String>,
    /// Another base branch.
    pub base: Option<String>,
}

/// A comment of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// The host's id.
    pub id: u64,
    /// The page that people see.
    pub url: String,
    /// Who wrote it.
    pub author: Option<String>,
    /// Markdown, with the marker if it is ours; untrusted.
    pub body: String,
}

/// A review to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The verdict.
    pub verdict: Verdict,
    /// Markdown.
    pub body: String,
    /// The commit that was looked at.
    pub commit: Oid,
    /// Comments on lines.
    pub comments: Vec<LineComment>,
}

/// What a reviewer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Only words.
    Comment,
    /// It may be merged.
    Approve,
    /// It must change first.
    RequestChanges,
}

/// A comment on a line of the difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineComment {
    /// The file.
    pub path: RepoPath,
    /// The side of the difference.
    pub side: Side,
    /// The line on that side, from 1.
    pub line: u32,
    /// Markdown.
    pub body: String,
}

/// A side of a difference.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Before the change.
    Old,
    /// After the change.
    New,
}

/// How to merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The way.
    pub method: windlass_git::merge::Method,
    /// The head that was looked at: another one is not merged.
    pub expected_head: Oid,
    /// The first line of the merge or squash commit; the host's own if `None`.
    pub title: Option<String>,
    /// The rest of its message.
    pub message: Option<String>,
}

/// The state of a check on a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Which check, such as `windlass/cve-remediation`.
    pub context: String,
    /// How it stands.
    pub state: StatusState,
    /// One short line.
    pub description: String,
    /// A page with more.
    pub url: Option<String>,
}

/// How a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusState {
    /// It runs or waits.
    Pending,
    /// All is well.
    Success,
    /// The work is at fault.
    Failure,
    /// The check itself broke.
    Error,
}
