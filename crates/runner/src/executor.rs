//! The seam between driving a job and doing its work: whoever implements this runs attempts of steps
//! and nothing else. Order, retries, limits and the end of the job belong to the driver.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use windlass_policy::redact::Redactor;
use windlass_run::{
    JobId,
    job::{End, GiveUp, StepResult},
};
use windlass_wire::runner::ProjectPool;

use crate::job::Job;

/// Makes the place where a job's steps are executed.
pub(crate) trait Executor: Send + Sync + 'static {
    /// Prepares the place: repository, work tree at the last checkpoint, environment. Reports the base
    /// commit. Called before the first step of a lease and before an attempt that follows a failed one.
    fn open(&self, job: Arc<Job>) -> BoxFuture<'_, Result<Box<dyn Work>, Unopened>>;

    /// The job has ended and no later lease will ask for what was kept of it.
    fn forget(&self, _job_id: JobId) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// What it keeps ahead of demand.
    fn pools(&self) -> Vec<ProjectPool> {
        Vec::new()
    }

    /// The runner ends: whatever it holds on this machine is let go.
    fn shut(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// Why there is no place to work in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Unopened {
    /// The job can't be done and ends so.
    End(End),
    /// It is this runner's trouble; another lease may do better.
    GiveBack(String),
}

/// A place where steps are executed.
pub(crate) trait Work: Send {
    /// Runs one attempt of the instance at that index, perhaps beside others. When `stop` is cancelled
    /// it ends soon, with whatever result; the driver no longer cares which. Dropping the future stops
    /// it too, but leaves the place unfit for anything but [`Work::close`].
    fn attempt(
        &self,
        index: usize,
        attempt: u32,
        stop: CancellationToken,
    ) -> BoxFuture<'static, Attempted>;

    /// Removes the place with everything that runs in it. Waits until nothing is left. No attempt is
    /// under way any more.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Attempted {
    /// So.
    Ended(StepResult),
    /// The whole job can't go on.
    JobEnded(End),
    /// The place broke through no fault of the step: the job is given back.
    GiveBack(String),
}

impl Attempted {
    /// The same without any secret in what it says: an agent's or program's own words may stand there.
    pub(crate) fn redacted(self, redactor: &Redactor) -> Self {
        let clean = |text: String| redactor.redact_text(&text);
        let clean_up = |up: GiveUp| GiveUp {
            tried: up.tried.into_iter().map(clean).collect(),
            stopped_because: clean(up.stopped_because),
            would_unblock: clean(up.would_unblock),
        };
        match self {
            Self::Ended(StepResult::Failed { code, reason }) => {
                Self::Ended(StepResult::Failed { code, reason: clean(reason) })
            }
            Self::Ended(StepResult::NothingToDo { reason }) => {
                Self::Ended(StepResult::NothingToDo { reason: clean(reason) })
            }
            Self::Ended(StepResult::GaveUp(up)) => Self::Ended(StepResult::GaveUp(clean_up(up))),
            Self::Ended(StepResult::Succeeded { checkpoint, outputs }) => {
                let outputs = outputs.into_iter();
                let outputs = outputs.map(|(name, value)| (name, redacted(value, redactor)));
                Self::Ended(StepResult::Succeeded { checkpoint, outputs: outputs.collect() })
            }
            Self::JobEnded(end) => {
                let give_up = end.give_up.map(clean_up);
                Self::JobEnded(End { reason: clean(end.reason), give_up, ..end })
            }
            Self::GiveBack(why) => Self::GiveBack(clean(why)),
        }
    }
}

/// A value without any secret in its texts, names of fields included.
fn redacted(value: Value, redactor: &Redactor) -> Value {
    match value {
        Value::String(text) => Value::String(redactor.redact_text(&text)),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| redacted(item, redactor)).collect())
        }
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let clean = fields
                .map(|(name, value)| (redactor.redact_text(&name), redacted(value, redactor)));
            Value::Object(clean.collect())
        }
        other => other,
    }
}
