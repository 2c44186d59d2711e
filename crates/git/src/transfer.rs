//! Talking to other repositories: what they have, fetching from them, pushing to them. A push
//! always says which old value it replaces, so nobody's work is overwritten unseen.

use crate::command::guarded;
use crate::error::classify;
use crate::repository::{Reference, parse_references, short};
use crate::{Address, Error, Git, Oid, RefName, Remote, Repository, Result};

/// What another repository says it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// The branch that its `HEAD` names, if `HEAD` names a branch that exists.
    pub default_branch: Option<RefName>,
    /// The commit of its `HEAD`.
    pub head: Option<Oid>,
    /// Its branches and tags (tags as tag objects).
    pub references: Vec<Reference>,
    place: String,
}

impl Advertised {
    /// The default branch, or why there is none.
    pub fn require_default_branch(&self) -> Result<&RefName> {
        match (&self.default_branch, &self.head) {
            (Some(branch), _) => Ok(branch),
            (None, Some(_)) => Err(Error::DetachedHead { place: self.place.clone() }),
            (None, None) if self.references.is_empty() => {
                Err(Error::EmptyRepository { place: self.place.clone() })
            }
            (None, None) => {
                Err(Error::BranchMissing { place: self.place.clone(), branch: "HEAD".to_owned() })
            }
        }
    }

    /// The commit of a branch by its short name, or why there is none.
    pub fn require_branch(&self, branch: &str) -> Result<&Oid> {
        let name = RefName::branch(branch)?;
        match self.references.iter().find(|reference| reference.name == name) {
            Some(reference) => Ok(&reference.target),
            None if self.references.is_empty() => {
                Err(Error::EmptyRepository { place: self.place.clone() })
            }
            None => {
                Err(Error::BranchMissing { place: self.place.clone(), branch: branch.to_owned() })
            }
        }
    }
}

/// What a push did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The reference was set.
    Updated,
    /// The far side had this value already: the push was done before.
    AlreadyThere,
}

impl Git {
    /// Asks another repository for its branches, tags and `HEAD`.
    pub async fn ls_remote(&self, remote: &Remote) -> Result<Advertised> {
        check_path(&remote.address)?;
        let output = self
            .call(format!("list the references of {}", remote.address))
            .remote(remote)?
            .args(["ls-remote", "--quiet", "--symref"])
            .arg(format!("--upload-pack={}", guarded("upload-pack")))
            .arg(remote.address.to_string())
            .run()
            .await
            .map_err(|error| unreadable_path(&remote.address, error))?;
        let text = output.text();
        let symref =
            text.lines().find_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"));
        let head = text
            .lines()
            .find_map(|line| line.strip_suffix("\tHEAD").filter(|id| !id.starts_with("ref: ")));
        let mut references = parse_references(&text)?;
        references.retain(|reference| {
            let name = reference.name.as_str();
            name.starts_with("refs/heads/") || name.starts_with("refs/tags/")
        });
        let default_branch = symref
            .map(RefName::parse)
            .transpose()?
            .filter(|branch| references.iter().any(|reference| reference.name == *branch));
        Ok(Advertised {
            default_branch,
            head: head.map(Oid::parse).transpose()?,
            references,
            place: remote.address.to_string(),
        })
    }
}

impl Repository {
    /// Fetches by refspecs (`+refs/heads/*:refs/heads/*`), pruning what is gone if asked. Tags come
    /// only where a refspec names them.
    pub async fn fetch(&self, remote: &Remote, refspecs: &[&str], prune: bool) -> Result<()> {
        check_path(&remote.address)?;
        self.call(format!("fetch from {}", remote.address))
            .remote(remote)?
            .args([
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                "--no-recurse-submodules",
                "--no-auto-maintenance",
                "--force",
            ])
            .args(prune.then_some("--prune"))
            .arg(format!("--upload-pack={}", guarded("upload-pack")))
            .arg(remote.address.to_string())
            .args(refspecs)
            .run()
            .await
            .map_err(|error| unreadable_path(&remote.address, error))?;
        Ok(())
    }

    /// Sets `name` on the far side to `new`, if it is still `expected` there (`None`: if it does not
    /// exist there). Safe to repeat: a push that was done before says so. Any history may be
    /// replaced, as long as its end is the expected one.
    pub async fn push(
        &self,
        remote: &Remote,
        name: &RefName,
        new: &Oid,
        expected: Option<&Oid>,
    ) -> Result<Pushed> {
        self.push_refspec(remote, name, Some(new), expected).await
    }

    /// Deletes `name` on the far side, if it is still `expected` there.
    pub async fn push_delete(
        &self,
        remote: &Remote,
        name: &RefName,
        expected: &Oid,
    ) -> Result<Pushed> {
        self.push_refspec(remote, name, None, Some(expected)).await
    }

    async fn push_refspec(
        &self,
        remote: &Remote,
        name: &RefName,
        new: Option<&Oid>,
        expected: Option<&Oid>,
    ) -> Result<Pushed> {
        check_path(&remote.address)?;
        let what = format!("push {} to {}", short(name), remote.address);
        let lease = format!("--force-with-lease={name}:{}", expected.map_or("", Oid::as_str));
        let output = self
            .call(&what)
            .remote(remote)?
            .args([
                "push",
                "--porcelain",
                "--no-verify",
                "--no-follow-tags",
                "--no-recurse-submodules",
                "--no-signed",
            ])
            .arg(lease)
            .arg(format!("--receive-pack={}", guarded("receive-pack")))
            .arg(remote.address.to_string())
            .arg(format!("{}:{name}", new.map_or("", Oid::as_str)))
            .run_any()
            .await?;
        let text = output.text();
        let line = text.lines().find_map(|line| {
            let (flag, rest) = line.split_once('\t')?;
            let (refs, summary) = rest.split_once('\t')?;
            refs.ends_with(&format!(":{name}")).then_some((flag, summary))
        });
        match line {
            Some(("!", summary)) => Err(refusal(name, expected, summary)),
            Some(("=", _)) if output.status == 0 => Ok(Pushed::AlreadyThere),
            Some(_) if output.status == 0 => Ok(Pushed::Updated),
            _ => Err(unreadable_path(
                &remote.address,
                classify(&what, &remote.address.to_string(), output.status, &output.stderr),
            )),
        }
    }
}

/// Turns a line such as `[rejected] (stale info)` into the right error.
fn refusal(name: &RefName, expected: Option<&Oid>, summary: &str) -> Error {
    let reason = summary
        .rsplit_once('(')
        .map_or(summary, |(_, reason)| reason.trim_end_matches(')'))
        .to_owned();
    let moved = [
        "stale info",
        "fetch first",
        "non-fast-forward",
        "failed to update ref",
        "reference already exists",
        "remote ref updated since checkout",
    ];
    if summary.contains("[rejected]") || moved.contains(&reason.as_str()) {
        Error::Stale { reference: name.to_string(), expected: expected.cloned(), detail: reason }
    } else {
        Error::Rejected { reference: name.to_string(), reason }
    }
}

fn check_path(address: &Address) -> Result<()> {
    match address.as_path() {
        Some(path) if !path.is_dir() => Err(Error::NotARepository { place: address.to_string() }),
        Some(_) | None => Ok(()),
    }
}

/// For a path, "could not read from remote repository" means that there is no repository.
fn unreadable_path(address: &Address, error: Error) -> Error {
    match (&error, address.as_path()) {
        (Error::Unreachable { detail, .. }, Some(_)) | (Error::Failed { detail, .. }, Some(_))
            if detail.contains("not a git repository") || detail.contains("does not appear") =>
        {
            Error::NotARepository { place: address.to_string() }
        }
        _ => error,
    }
}
