//! Merging two histories without a work tree: the result is a commit in the object store, and no
//! reference moves here. A conflict is an answer, not an error, and is never forced.

use crate::history::Commit;
use crate::object::Signature;
use crate::snapshot::NewCommit;
use crate::{Error, Oid, RepoPath, Repository, Result};

/// How the head's work comes onto the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// One commit with two parents.
    Merge,
    /// One commit with the whole change, on top of the base.
    Squash,
    /// The head's commits one by one on top of the base, each with its own author and message.
    Rebase,
}

/// A merge to try.
#[derive(Clone, Debug)]
pub struct Merge {
    /// The commit that the work goes onto.
    pub base: Oid,
    /// The end of the work.
    pub head: Oid,
    /// How.
    pub method: Method,
    /// The message of the merge or squash commit; not used by a rebase.
    pub message: String,
    /// Who the squashed work is by; not used by a rebase.
    pub author: Signature,
    /// Who merges.
    pub committer: Signature,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// It fits. `commit` is what the base branch is to become; `made` are the commits made for it,
    /// oldest first (none if the base only has to move ahead).
    Clean {
        /// The new end of the base branch.
        commit: Oid,
        /// The commits made, oldest first.
        made: Vec<Oid>,
    },
    /// The base has all of it already.
    NothingToDo,
    /// Both sides changed the same things.
    Conflict(Conflict),
}

/// Where two sides do not fit.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Conflict {
    /// The paths, in order.
    pub paths: Vec<RepoPath>,
    /// Git's words about them, a line each.
    pub messages: Vec<String>,
    /// For a rebase, the commit that does not fit.
    pub commit: Option<Oid>,
}

impl Repository {
    /// Tries a merge.
    pub async fn merge(&self, merge: &Merge) -> Result<Merged> {
        if self.is_ancestor(&merge.head, &merge.base).await? {
            return Ok(Merged::NothingToDo);
        }
        if self.merge_base(&merge.base, &merge.head).await?.is_none() {
            return Err(Error::Unrelated { ours: merge.base.clone(), theirs: merge.head.clone() });
        }
        match merge.method {
            Method::Merge => self.merge_into_one(merge, &[&merge.base, &merge.head]).await,
            Method::Squash => self.merge_into_one(merge, &[&merge.base]).await,
            Method::Rebase => self.rebase(merge).await,
        }
    }

    /// Whether `head` would merge into `base`, without making a commit.
    pub async fn merge_check(&self, base: &Oid, head: &Oid) -> Result<Option<Conflict>> {
        Ok(self.merge_trees(base, head).await?.err())
    }

    async fn merge_into_one(&self, merge: &Merge, parents: &[&Oid]) -> Result<Merged> {
        let tree = match self.merge_trees(&merge.base, &merge.head).await? {
            Ok(tree) => tree,
            Err(conflict) => return Ok(Merged::Conflict(conflict)),
        };
        let commit = NewCommit {
            tree,
            parents: parents.iter().map(|parent| (*parent).clone()).collect(),
            author: merge.author.clone(),
            committer: merge.committer.clone(),
            message: merge.message.clone(),
        };
        let commit = self.commit(&commit).await?;
        Ok(Merged::Clean { commit: commit.clone(), made: vec![commit] })
    }

    /// Replays the head's commits as `git rebase` does: merges are left out, commits that the base
    /// has under another id are left out, and so are those that have nothing left to change.
    async fn rebase(&self, merge: &Merge) -> Result<Merged> {
        const MOST: usize = 1000;
        let range = format!("{}...{}", merge.base, merge.head);
        let selection = ["--reverse", "--no-merges", "--cherry-pick", "--right-only", &range]
            .map(str::to_owned);
        let commits = self.log(&selection, MOST + 1).await?;
        if commits.len() > MOST {
            return Err(Error::TooLarge {
                what: "the history to rebase".to_owned(),
                limit: MOST as u64,
                unit: "commits",
            });
        }
        if let Some(last) = commits.last()
            && last.id == merge.head
            && chain_starts_at(&commits, &merge.base)
        {
            return Ok(Merged::Clean { commit: merge.head.clone(), made: Vec::new() });
        }
        let (mut tip, mut made) = (merge.base.clone(), Vec::new());
        for commit in &commits {
            match self.replay(commit, &tip, &merge.committer).await? {
                Replayed::Made(new) => {
                    tip = new.clone();
                    made.push(new);
                }
                Replayed::Empty => {}
                Replayed::Conflict(conflict) => return Ok(Merged::Conflict(conflict)),
            }
        }
        if made.is_empty() {
            Ok(Merged::NothingToDo)
        } else {
            Ok(Merged::Clean { commit: tip, made })
        }
    }

    async fn replay(&self, commit: &Commit, onto: &Oid, committer: &Signature) -> Result<Replayed> {
        let onto_tree = self.tree_of(onto).await?;
        let parent_tree = match commit.parents.first() {
            Some(parent) => self.tree_of(parent).await?,
            None => self.empty_tree().await?,
        };
        // The three trees of a cherry-pick, as a history that merge-tree can work on: both sides
        // come from the commit's parent. (`--merge-base` would do, but needs git 2.40.)
        let from = self.plain_commit(&parent_tree, None, committer).await?;
        let ours = self.plain_commit(&onto_tree, Some(&from), committer).await?;
        let theirs = self.plain_commit(&commit.tree, Some(&from), committer).await?;
        let tree = match self.merge_trees(&ours, &theirs).await? {
            Ok(tree) => tree,
            Err(conflict) => {
                return Ok(Replayed::Conflict(Conflict {
                    commit: Some(commit.id.clone()),
                    ..conflict
                }));
            }
        };
        if tree == onto_tree && commit.tree != parent_tree {
            return Ok(Replayed::Empty);
        }
        let new = NewCommit {
            tree,
            parents: vec![onto.clone()],
            author: commit.author.clone(),
            committer: committer.clone(),
            message: commit.message.clone(),
        };
        self.commit(&new).await.map(Replayed::Made)
    }

    async fn plain_commit(&self, tree: &Oid, parent: Option<&Oid>, by: &Signature) -> Result<Oid> {
        let commit = NewCommit {
            tree: tree.clone(),
            parents: parent.cloned().into_iter().collect(),
            author: by.clone(),
            committer: by.clone(),
            message: "a side of a merge".to_owned(),
        };
        self.commit(&commit).await
    }

    async fn empty_tree(&self) -> Result<Oid> {
        let output =
            self.call("make an empty tree").args(["mktree"]).stdin(Vec::new()).run().await?;
        Oid::parse(output.text().trim())
    }

    /// The merged tree, or the conflict.
    async fn merge_trees(&self, ours: &Oid, theirs: &Oid) -> Result<Result<Oid, Conflict>> {
        let output = self
            .call(format!("merge {} into {}", theirs.short(), ours.short()))
            .config("merge.renames", "true")
            .config("merge.directoryRenames", "conflict")
            .config("merge.conflictStyle", "merge")
            .args([
                "merge-tree",
                "--write-tree",
                "-z",
                "--name-only",
                "--messages",
                ours.as_str(),
                theirs.as_str(),
            ])
            .limit(self.git().options().transfer_limit)
            .run_accepting(&[0, 1])
            .await?;
        let mut fields = output.stdout.split(|&byte| byte == 0);
        let tree = String::from_utf8_lossy(fields.next().unwrap_or_default()).into_owned();
        if output.status == 0 {
            return Ok(Ok(Oid::parse(tree.trim())?));
        }
        let mut paths: Vec<RepoPath> = fields
            .by_ref()
            .take_while(|field| !field.is_empty())
            .map(RepoPath::from_bytes)
            .collect();
        paths.dedup();
        Ok(Err(Conflict { paths, messages: conflict_messages(fields), commit: None }))
    }
}

enum Replayed {
    Made(Oid),
    Empty,
    Conflict(Conflict),
}

/// Whether the commits, oldest first, are one line that begins on `base`.
fn chain_starts_at(commits: &[Commit], base: &Oid) -> bool {
    let mut expected = base;
    commits.iter().all(|commit| {
        let follows = commit.parents.len() == 1 && commit.parents[0] == *expected;
        expected = &commit.id;
        follows
    })
}

/// Each message is a count of paths, the paths, its kind and its text.
fn conflict_messages<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut messages = Vec::new();
    while let Some(count) = fields
        .next()
        .and_then(|count| std::str::from_utf8(count).ok()?.trim().parse::<usize>().ok())
    {
        for _ in 0..count {
            fields.next();
        }
        let (kind, text) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        if kind.starts_with(b"CONFLICT") {
            messages.push(String::from_utf8_lossy(text).trim_end().to_owned());
        }
    }
    messages
}
