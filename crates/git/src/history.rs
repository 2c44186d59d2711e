//! Commits and how they hang together.

use crate::object::Signature;
use crate::{Error, Oid, Repository, Result};

/// A commit as it is recorded. All text is what somebody wrote: whoever shows it escapes it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Commit {
    /// Its id.
    pub id: Oid,
    /// Its tree.
    pub tree: Oid,
    /// Its parents, first parent first.
    pub parents: Vec<Oid>,
    /// Who made the work.
    pub author: Signature,
    /// Who made the commit.
    pub committer: Signature,
    /// The first paragraph of the message, in one line.
    pub subject: String,
    /// The whole message, subject included, without trailing line breaks.
    pub message: String,
}

const FORMAT: &str = "%H%x00%T%x00%P%x00%an%x00%ae%x00%at%x00%cn%x00%ce%x00%ct%x00%s%x00%B";
const FIELDS: usize = 11;

impl Repository {
    /// The commits that `head` has and `base` has not, newest first, at most `limit`.
    pub async fn commits_between(
        &self,
        base: &Oid,
        head: &Oid,
        limit: usize,
    ) -> Result<Vec<Commit>> {
        self.log(&[format!("{base}..{head}")], limit).await
    }

    /// One commit.
    pub async fn commit_info(&self, id: &Oid) -> Result<Commit> {
        self.log(&["--no-walk".to_owned(), id.to_string()], 1)
            .await?
            .pop()
            .ok_or_else(|| Error::Missing { what: format!("commit {id}") })
    }

    /// The best common ancestor, if the histories meet.
    pub async fn merge_base(&self, a: &Oid, b: &Oid) -> Result<Option<Oid>> {
        let output = self
            .call("find the common ancestor")
            .arg("merge-base")
            .args([a.as_str(), b.as_str()])
            .run_accepting(&[0, 1])
            .await?;
        match output.status {
            0 => Oid::parse(output.text().trim()).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether `ancestor` is reachable from `descendant` (a commit is its own ancestor).
    pub async fn is_ancestor(&self, ancestor: &Oid, descendant: &Oid) -> Result<bool> {
        let output = self
            .call("compare histories")
            .args(["merge-base", "--is-ancestor", ancestor.as_str(), descendant.as_str()])
            .run_accepting(&[0, 1])
            .await?;
        Ok(output.status == 0)
    }

    /// How many commits `head` has that `base` has not, and the other way round.
    pub async fn ahead_behind(&self, base: &Oid, head: &Oid) -> Result<(u64, u64)> {
        let output = self
            .call("count commits")
            .args(["rev-list", "--left-right", "--count"])
            .arg(format!("{head}...{base}"))
            .run()
            .await?;
        let text = output.text();
        let mut counts = text.split_ascii_whitespace().map(|count| count.parse().unwrap_or(0));
        Ok((counts.next().unwrap_or(0), counts.next().unwrap_or(0)))
    }

    pub(crate) async fn log(&self, revisions: &[String], limit: usize) -> Result<Vec<Commit>> {
        let output = self
            .call("read commits")
            .args(["log", "-z", "--no-color", "--no-decorate", "--no-mailmap", "--topo-order"])
            .arg(format!("--format={FORMAT}"))
            .arg(format!("--max-count={limit}"))
            .args(revisions)
            .arg("--")
            .run()
            .await?;
        parse(&output.stdout)
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Commit>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let text: Vec<String> = bytes
        .split(|&byte| byte == 0)
        .map(|field| String::from_utf8_lossy(field).into_owned())
        .collect();
    // A record ends with NUL where the format's own fields also do; a last empty field may follow.
    let mut commits = Vec::new();
    for fields in text.chunks(FIELDS) {
        let [
            id,
            tree,
            parents,
            author,
            author_mail,
            authored,
            committer,
            committer_mail,
            committed,
            subject,
            message,
        ] = fields
        else {
            break;
        };
        commits.push(Commit {
            id: Oid::parse(id)?,
            tree: Oid::parse(tree)?,
            parents: parents.split_ascii_whitespace().map(Oid::parse).collect::<Result<_>>()?,
            author: signature(author, author_mail, authored),
            committer: signature(committer, committer_mail, committed),
            subject: subject.clone(),
            message: message.trim_end_matches('\n').to_owned(),
        });
    }
    Ok(commits)
}

fn signature(name: &str, email: &str, seconds: &str) -> Signature {
    let at = seconds.parse::<i64>().unwrap_or(0).saturating_mul(1_000_000);
    Signature { name: name.to_owned(), email: email.to_owned(), at }
}
