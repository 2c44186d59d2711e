//! The simulated forge: branches and pull requests. It does what it is told as often as it is told,
//! so that whoever tells it twice is found out. A branch moves only from the value that the push
//! expects, as `git push --force-with-lease` does.

use std::collections::BTreeMap;

use windlass_run::{EffectKey, effect::Request};

/// What the forge has.
#[derive(Default)]
pub(super) struct Forge {
    branches: BTreeMap<String, String>,
    pulls: BTreeMap<String, u64>,
    /// How often each effect really changed something.
    pub happened: BTreeMap<EffectKey, u32>,
}

/// How the forge answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The branch points to the commit.
    Pushed,
    /// The pull request has that number.
    Pull(u64),
    /// The branch points elsewhere.
    Rejected,
}

impl Forge {
    /// Carries out a request.
    pub(super) fn act(&mut self, key: &EffectKey, request: &Request) -> Reply {
        match request {
            Request::Push { branch, commit, expected } => {
                let current = self.branches.get(branch);
                if current == Some(commit) {
                    return Reply::Pushed;
                }
                if current != expected.as_ref() {
                    return Reply::Rejected;
                }
                self.branches.insert(branch.clone(), commit.clone());
                *self.happened.entry(key.clone()).or_insert(0) += 1;
                Reply::Pushed
            }
            Request::PullRequest { head, .. } => {
                // Deliberately without the check for a twin that real forges have.
                let number = self.pulls.len() as u64 + 1;
                self.pulls.insert(format!("{head}#{number}"), number);
                *self.happened.entry(key.clone()).or_insert(0) += 1;
                Reply::Pull(number)
            }
        }
    }

    /// What is there of a request already.
    pub(super) fn look(&self, request: &Request) -> Option<Reply> {
        match request {
            Request::Push { branch, commit, .. } => {
                (self.branches.get(branch) == Some(commit)).then_some(Reply::Pushed)
            }
            Request::PullRequest { head, .. } => {
                let prefix = format!("{head}#");
                let found = self.pulls.iter().find(|(name, _)| name.starts_with(&prefix));
                found.map(|(_, number)| Reply::Pull(*number))
            }
        }
    }
}
