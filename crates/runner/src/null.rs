//! The executor of a benchmark: steps that run `true` end well without an environment, so that what
//! is measured is the protocol and nothing else. Only used where [`crate::Options::null_executor`] is
//! set, which no product configuration does.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use windlass_run::{
    job::StepResult,
    spec::{Action, Spec},
};

use crate::{
    executor::{Attempted, Executor, Unopened, Work},
    job::{Job, failed},
};

/// See the module.
pub(crate) struct Null;

/// Whether a job has no-ops only.
pub(crate) fn fits(spec: &Spec) -> bool {
    spec.steps
        .iter()
        .all(|step| matches!(&step.action, Action::Run { command } if command.trim() == "true"))
}

impl Executor for Null {
    fn open(&self, job: Arc<Job>) -> BoxFuture<'_, Result<Box<dyn Work>, Unopened>> {
        let fits = job.look(|state| fits(&state.spec));
        Box::pin(async move {
            if fits {
                Ok(Box::new(Null) as Box<dyn Work>)
            } else {
                let why = "This runner only runs the no-op steps of a benchmark: start one without `null_executor`.";
                Err(Unopened::End(failed("null_executor", why)))
            }
        })
    }
}

impl Work for Null {
    fn attempt(
        &mut self,
        _index: usize,
        _attempt: u32,
        _stop: CancellationToken,
    ) -> BoxFuture<'_, Attempted> {
        Box::pin(async { Attempted::Ended(StepResult::Succeeded { checkpoint: None }) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
