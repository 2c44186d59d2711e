//! Effects: outward writes, staged as data in the journal, executed once under a grant, recorded.
//!
//! The life of an effect: `Staged` → `Granted {executor, epoch, until}` → `Done` | `Failed` |
//! `Unknown`. No second grant is given until the first was recorded, or has expired *and* the far
//! side was looked at (the next executor says so in its request for the grant).

use serde::{Deserialize, Serialize};

use crate::{EffectKey, StepId, Time};

/// An outward write, as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Request {
    /// Moves a branch on the target's forge. Executed by the leased runner.
    Push {
        /// The branch without `refs/heads/`.
        branch: String,
        /// The commit it should point to.
        commit: String,
        /// The commit that it points to now; absent if it must not exist.
        expected: Option<String>,
    },
    /// Opens a pull request for a pushed branch, or updates the open one with that head. Executed by
    /// the server.
    PullRequest {
        /// The branch that the change is meant for.
        base: String,
        /// The pushed branch.
        head: String,
        /// The commit that the head points to.
        commit: String,
        /// The title.
        title: String,
        /// The body, Markdown.
        body: String,
        /// Opened as a draft.
        draft: bool,
    },
}

impl Request {
    /// The kind's name, as it stands in an effect key.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Push { .. } => "push",
            Self::PullRequest { .. } => "pull_request",
        }
    }

    /// Who executes it.
    pub fn executor(&self) -> Executor {
        match self {
            Self::Push { .. } => Executor::Runner,
            Self::PullRequest { .. } => Executor::Server,
        }
    }
}

/// Who executes an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// The runner that holds the job's lease.
    Runner,
    /// A reconciler of the server, from the outbox.
    Server,
}

/// An effect as a job knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Its key.
    pub key: EffectKey,
    /// The step that wants it.
    pub step_id: StepId,
    /// What to do.
    pub request: Request,
    /// Where it stands.
    pub state: State,
}

/// Where an effect stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Journalled, not begun.
    Staged,
    /// An executor may act until then.
    Granted {
        /// The lease's epoch for a runner; the server's own generation for a reconciler.
        epoch: u64,
        /// When the grant expires.
        until: Time,
        /// How many grants there have been, this one included.
        grants: u32,
    },
    /// It happened, once.
    Done(Outcome),
    /// It did not happen and will not.
    Failed {
        /// Why, for a person.
        reason: String,
    },
    /// Nobody can tell whether it happened; a person decides.
    Unknown {
        /// What was tried, for a person.
        reason: String,
    },
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The branch points to the commit.
    Pushed {
        /// The branch without `refs/heads/`.
        branch: String,
        /// The commit.
        commit: String,
    },
    /// The pull request is there.
    PullRequest {
        /// Its number on the forge.
        number: u64,
        /// Where a person sees it.
        url: String,
    },
}
