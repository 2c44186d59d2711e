//! The few fields of GitHub's answers that are used. Lenient: a field that a host leaves out, or
//! adds, is no error unless nothing can be done without it.

use serde::Deserialize;
use windlass_git::Oid;

use crate::forge::{Comment, PullRequest, Repository, State};
use crate::{Error, RepositoryName, Result};

#[derive(Deserialize)]
pub(super) struct UserAnswer {
    pub(super) login: String,
}

#[derive(Deserialize)]
pub(super) struct RepositoryAnswer {
    full_name: String,
    default_branch: String,
    clone_url: String,
    html_url: String,
    #[serde(default)]
    private: bool,
    #[serde(default)]
    archived: bool,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    push: Option<bool>,
}

impl RepositoryAnswer {
    pub(super) fn read(self) -> Result<Repository> {
        let name = RepositoryName::parse(&self.full_name)
            .map_err(|error| unreadable(&error.to_string()))?;
        let can_push = self.permissions.and_then(|permissions| permissions.push);
        Ok(Repository {
            name,
            default_branch: self.default_branch,
            clone_url: self.clone_url,
            url: self.html_url,
            private: self.private,
            archived: self.archived,
            can_push,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct PullAnswer {
    number: u64,
    html_url: String,
    title: String,
    body: Option<String>,
    state: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    merged: bool,
    merged_at: Option<String>,
    merge_commit_sha: Option<String>,
    mergeable: Option<bool>,
    base: End,
    head: End,
    user: Option<UserAnswer>,
}

#[derive(Deserialize)]
struct End {
    #[serde(rename = "ref")]
    name: String,
    sha: String,
}

impl PullAnswer {
    pub(super) fn read(self) -> Result<PullRequest> {
        let state = match (self.state.as_str(), self.merged || self.merged_at.is_some()) {
            (_, true) => State::Merged,
            ("open", false) => State::Open,
            _ => State::Closed,
        };
        // While it is open this field is a commit of GitHub's own, made to try the merge.
        let merge_commit = self
            .merge_commit_sha
            .filter(|_| state == State::Merged)
            .and_then(|id| Oid::parse(&id).ok());
        Ok(PullRequest {
            number: self.number,
            url: self.html_url,
            title: self.title,
            body: self.body.unwrap_or_default(),
            state,
            draft: self.draft,
            base: self.base.name,
            head: self.head.name,
            head_commit: Oid::parse(&self.head.sha)
                .map_err(|error| unreadable(&error.to_string()))?,
            mergeable: self.mergeable,
            merge_commit,
            author: self.user.map(|user| user.login),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct CommentAnswer {
    id: u64,
    html_url: String,
    pub(super) body: Option<String>,
    user: Option<UserAnswer>,
}

impl CommentAnswer {
    pub(super) fn read(self) -> Comment {
        Comment {
            id: self.id,
            url: self.html_url,
            author: self.user.map(|user| user.login),
            body: self.body.unwrap_or_default(),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct ReviewAnswer {
    pub(super) body: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct MergeAnswer {
    sha: Option<String>,
    #[serde(default)]
    merged: bool,
    message: Option<String>,
}

impl MergeAnswer {
    pub(super) fn read(self, what: &str) -> Result<Oid> {
        match self.sha.as_deref().map(Oid::parse) {
            Some(Ok(commit)) if self.merged => Ok(commit),
            _ => Err(Error::Conflict {
                what: what.to_owned(),
                message: self.message.unwrap_or_else(|| "it was not merged".to_owned()),
            }),
        }
    }
}

fn unreadable(message: &str) -> Error {
    Error::Unavailable { what: "read GitHub's answer".to_owned(), message: message.to_owned() }
}
