//! GitHub, at github.com and on Enterprise Server, by its REST API with a token (fine-grained or
//! classic). The token goes into the `Authorization` header of this one host and nowhere else;
//! redirects are never followed.

use std::time::Duration;

use serde_json::json;
use windlass_git::Oid;
use windlass_git::merge::Method;

use crate::forge::{
    Comment, Forge, Merge, NewPullRequest, Opened, PullRequest, Repository, Review, Side, State,
    Status, StatusState, Update, Verdict,
};
use crate::{Error, RepositoryAddress, RepositoryName, Result};

mod answers;
mod client;
pub mod webhook;

use answers::{CommentAnswer, MergeAnswer, PullAnswer, RepositoryAnswer, ReviewAnswer};
use client::{Client, encode};

/// The time now, in microseconds since the Unix epoch.
pub type Clock = std::sync::Arc<dyn Fn() -> i64 + Send + Sync>;

/// How a host is reached.
#[derive(Clone)]
pub struct Options {
    /// The root of the API, such as `https://api.github.com`; see [`api_root`].
    pub api_root: String,
    /// The token.
    pub token: String,
    /// The time, against which the host's limits are understood.
    pub clock: Clock,
    /// The longest that one request may take.
    pub time_limit: Duration,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("api_root", &self.api_root).finish_non_exhaustive()
    }
}

/// The root of the API of the host that has this repository.
pub fn api_root(address: &RepositoryAddress) -> String {
    match address.host.as_str() {
        "github.com" => "https://api.github.com".to_owned(),
        _ => format!("{}/api/v3", address.web_root()),
    }
}

/// What git needs to fetch and push with a token.
pub fn git_credential(token: &str) -> windlass_git::Credential {
    windlass_git::Credential::basic("x-access-token", token)
}

/// GitHub with one token. Cheap to clone; clones share what they know of the host's limits.
#[derive(Clone, Debug)]
pub struct GitHub {
    client: Client,
}

impl GitHub {
    /// A connection to be; nothing is sent yet. Must be called within a Tokio runtime.
    pub fn new(options: Options) -> Result<Self> {
        Ok(GitHub { client: Client::new(options)? })
    }

    /// The account that the token belongs to: the cheapest way to try a token.
    pub async fn who_am_i(&self) -> Result<String> {
        let answer: answers::UserAnswer =
            self.client.get("ask who the token belongs to", "/user").await?;
        Ok(answer.login)
    }

    async fn find_open(
        &self,
        repository: &RepositoryName,
        base: &str,
        head: &str,
    ) -> Result<Option<PullRequest>> {
        let path = format!(
            "/repos/{repository}/pulls?state=open&head={}:{}&base={}&per_page=100",
            repository.owner,
            encode(head),
            encode(base)
        );
        let found: Vec<PullAnswer> = self.client.get("look for a pull request", &path).await?;
        // An unknown filter would give every pull request: check what came.
        let mut found =
            found.into_iter().map(PullAnswer::read).collect::<Result<Vec<_>>>()?.into_iter();
        Ok(found.find(|pull| pull.state == State::Open && pull.base == base && pull.head == head))
    }

    async fn add_labels(
        &self,
        repository: &RepositoryName,
        number: u64,
        labels: &[String],
    ) -> Result<()> {
        if labels.is_empty() {
            return Ok(());
        }
        let path = format!("/repos/{repository}/issues/{number}/labels");
        self.client
            .post::<_, serde_json::Value>(
                "put labels on a pull request",
                &path,
                &json!({ "labels": labels }),
            )
            .await?;
        Ok(())
    }

    async fn patch(
        &self,
        repository: &RepositoryName,
        number: u64,
        what: &str,
        change: &serde_json::Value,
    ) -> Result<PullRequest> {
        let answer: PullAnswer =
            self.client.patch(what, &format!("/repos/{repository}/pulls/{number}"), change).await?;
        answer.read()
    }
}

#[async_trait::async_trait]
impl Forge for GitHub {
    async fn repository(&self, repository: &RepositoryName) -> Result<Repository> {
        let answer: RepositoryAnswer =
            self.client.get(&format!("read {repository}"), &format!("/repos/{repository}")).await?;
        answer.read()
    }

    async fn open_or_find(
        &self,
        repository: &RepositoryName,
        new: &NewPullRequest,
    ) -> Result<Opened> {
        if let Some(pull_request) = self.find_open(repository, &new.base, &new.head).await? {
            // A crash may have come between the pull request and its labels.
            self.add_labels(repository, pull_request.number, &new.labels).await?;
            return Ok(Opened { pull_request, created: false });
        }
        let body = json!({ "title": new.title, "body": new.body, "head": new.head, "base": new.base, "draft": new.draft });
        let opened = self
            .client
            .post::<_, PullAnswer>(
                "open a pull request",
                &format!("/repos/{repository}/pulls"),
                &body,
            )
            .await;
        let (pull_request, created) = match opened {
            Ok(answer) => (answer.read()?, true),
            // Somebody else was faster.
            Err(Error::Invalid { what, message }) if message.contains("already exists") => {
                match self.find_open(repository, &new.base, &new.head).await? {
                    Some(found) => (found, false),
                    None => return Err(Error::Conflict { what, message }),
                }
            }
            Err(error) => return Err(error),
        };
        self.add_labels(repository, pull_request.number, &new.labels).await?;
        Ok(Opened { pull_request, created })
    }

    async fn pull_request(&self, repository: &RepositoryName, number: u64) -> Result<PullRequest> {
        let what = format!("read pull request {repository}#{number}");
        let answer: PullAnswer =
            self.client.get_cached(&what, &format!("/repos/{repository}/pulls/{number}")).await?;
        answer.read()
    }

    async fn open_pull_requests(
        &self,
        repository: &RepositoryName,
        head: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PullRequest>> {
        let filter = head
            .map(|head| format!("&head={}:{}", repository.owner, encode(head)))
            .unwrap_or_default();
        let path =
            format!("/repos/{repository}/pulls?state=open&sort=created&direction=desc{filter}");
        let answers: Vec<PullAnswer> = self.client.list("list pull requests", &path, limit).await?;
        answers.into_iter().map(PullAnswer::read).collect()
    }

    async fn update(
        &self,
        repository: &RepositoryName,
        number: u64,
        update: &Update,
    ) -> Result<PullRequest> {
        let mut change = serde_json::Map::new();
        for (key, value) in
            [("title", &update.title), ("body", &update.body), ("base", &update.base)]
        {
            change.extend(value.as_ref().map(|value| (key.to_owned(), value.as_str().into())));
        }
        if change.is_empty() {
            return self.pull_request(repository, number).await;
        }
        self.patch(repository, number, "change a pull request", &change.into()).await
    }

    async fn comment(
        &self,
        repository: &RepositoryName,
        number: u64,
        body: &str,
        marker: &str,
    ) -> Result<Comment> {
        let mark = mark(marker)?;
        let path = format!("/repos/{repository}/issues/{number}/comments");
        let find = |comment: &CommentAnswer| {
            comment.body.as_deref().is_some_and(|body| body.contains(&mark))
        };
        if let Some(found) = self.client.find("look for a comment", &path, find).await? {
            return Ok(found.read());
        }
        let answer: CommentAnswer = self
            .client
            .post("comment", &path, &json!({ "body": format!("{body}\n\n{mark}") }))
            .await?;
        Ok(answer.read())
    }

    async fn comments(
        &self,
        repository: &RepositoryName,
        number: u64,
        limit: usize,
    ) -> Result<Vec<Comment>> {
        let path = format!("/repos/{repository}/issues/{number}/comments");
        let answers: Vec<CommentAnswer> = self.client.list("list comments", &path, limit).await?;
        Ok(answers.into_iter().map(CommentAnswer::read).collect())
    }

    async fn review(
        &self,
        repository: &RepositoryName,
        number: u64,
        review: &Review,
        marker: &str,
    ) -> Result<()> {
        let mark = mark(marker)?;
        let path = format!("/repos/{repository}/pulls/{number}/reviews");
        let find =
            |given: &ReviewAnswer| given.body.as_deref().is_some_and(|body| body.contains(&mark));
        if self.client.find("look for a review", &path, find).await?.is_some() {
            return Ok(());
        }
        let comments: Vec<serde_json::Value> = review
            .comments
            .iter()
            .map(|comment| {
                let side = match comment.side {
                    Side::Old => "LEFT",
                    Side::New => "RIGHT",
                };
                json!({ "path": comment.path.to_string(), "line": comment.line, "side": side, "body": comment.body })
            })
            .collect();
        let event = match review.verdict {
            Verdict::Comment => "COMMENT",
            Verdict::Approve => "APPROVE",
            Verdict::RequestChanges => "REQUEST_CHANGES",
        };
        let body = json!({ "commit_id": review.commit, "body": format!("{}\n\n{mark}", review.body), "event": event, "comments": comments });
        self.client.post::<_, serde_json::Value>("review", &path, &body).await?;
        Ok(())
    }

    async fn merge(&self, repository: &RepositoryName, number: u64, merge: &Merge) -> Result<Oid> {
        let what = format!("merge pull request {repository}#{number}");
        let now = self.pull_request(repository, number).await?;
        match (now.state, now.merge_commit) {
            (State::Merged, Some(commit)) => return Ok(commit),
            (State::Merged, None) | (State::Closed, _) => {
                return Err(Error::Conflict { what, message: "it is closed".to_owned() });
            }
            (State::Open, _) => {}
        }
        let method = match merge.method {
            Method::Merge => "merge",
            Method::Squash => "squash",
            Method::Rebase => "rebase",
        };
        let mut body = json!({ "sha": merge.expected_head, "merge_method": method });
        for (key, value) in [("commit_title", &merge.title), ("commit_message", &merge.message)] {
            if let Some(value) = value {
                body[key] = value.as_str().into();
            }
        }
        let answer: MergeAnswer = self
            .client
            .put(&what, &format!("/repos/{repository}/pulls/{number}/merge"), &body)
            .await?;
        answer.read(&what)
    }

    async fn close(&self, repository: &RepositoryName, number: u64) -> Result<PullRequest> {
        self.patch(repository, number, "close a pull request", &json!({ "state": "closed" })).await
    }

    async fn reopen(&self, repository: &RepositoryName, number: u64) -> Result<PullRequest> {
        self.patch(repository, number, "reopen a pull request", &json!({ "state": "open" })).await
    }

    async fn set_status(
        &self,
        repository: &RepositoryName,
        commit: &Oid,
        status: &Status,
    ) -> Result<()> {
        let state = match status.state {
            StatusState::Pending => "pending",
            StatusState::Success => "success",
            StatusState::Failure => "failure",
            StatusState::Error => "error",
        };
        // GitHub takes at most 140 characters.
        let description: String = status.description.chars().take(140).collect();
        let body = json!({ "state": state, "context": status.context, "description": description, "target_url": status.url });
        let path = format!("/repos/{repository}/statuses/{commit}");
        self.client.post::<_, serde_json::Value>("set a status", &path, &body).await?;
        Ok(())
    }
}

/// The hidden line by which a comment of ours is found again.
fn mark(marker: &str) -> Result<String> {
    let plain = !marker.is_empty()
        && marker.len() <= 200
        && marker
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/'));
    match plain && !marker.contains("--") {
        true => Ok(format!("<!-- windlass:{marker} -->")),
        false => Err(Error::Invalid {
            what: "a comment's marker".to_owned(),
            message: "use letters, digits and . : / _ or single dashes".to_owned(),
        }),
    }
}
