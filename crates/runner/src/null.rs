//! The executor of a benchmark: steps that run `true` end well without an environment, so that what
//! is measured is the protocol and nothing else. Only used where [`crate::Options::null_executor`] is
//! set, which no product configuration does.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use windlass_run::{
    job::StepResult,
    spec::{Action, Spec, Step},
};

use crate::{
    executor::{Attempted, Executor, Unopened, Work},
    job::{Job, failed},
};

/// See the module.
pub(crate) struct Null;

/// Whether a job has no-ops only.
pub(crate) fn fits(spec: &Spec) -> bool {
    let is_no_op = |step: &Step| match &step.action {
        Action::Run { command } => command.as_str().trim() == "true" && step.outputs.is_empty(),
        action => action.is_container(),
    };
    spec.every_step().all(|(_, step)| is_no_op(step))
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
        &self,
        _index: usize,
        _attempt: u32,
        _stop: CancellationToken,
    ) -> BoxFuture<'static, Attempted> {
        Box::pin(async { Attempted::Ended(StepResult::succeeded(None)) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
