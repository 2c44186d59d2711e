//! Drives one leased job to its end: asks the machine what is next, has it done, reports it. The
//! same path serves a fresh job and one that was requeued after a crash.
//!
//! Nothing here knows what a step does; see [`crate::executor`].

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use windlass_run::job::{End, Next, Phase, Report, StepResult};

use crate::{
    executor::{Attempted, Executor, Unopened, Work},
    job::{Interruption, Job, Unreported, failed},
};

/// How long an attempt may take to end after it was told to stop.
const STOP: Duration = Duration::from_secs(15);
/// How long after a step's time limit its attempt is ended by force, if it did not end itself.
const OVERDUE: Duration = Duration::from_secs(20);

/// How often a runner may fail a job by itself before the job ends.
const STRIKES: u32 = 4;

/// Drives the job until it is over, or `stop` is cancelled; then it is given back. Returns when
/// nothing of it runs any more; what it had to say may still be on its way.
pub(crate) async fn drive(job: Arc<Job>, executor: Arc<dyn Executor>, stop: CancellationToken) {
    let mut driver = Driver { job, executor, stop, work: None };
    let over = driver.run().await;
    if let Some(work) = driver.work.take() {
        work.close().await;
    }
    match over {
        Over::Ended => {}
        Over::GiveBack(why) if driver.stop.is_cancelled() => driver.job.held.release(&why),
        Over::GiveBack(why) if driver.job.strike() < STRIKES => {
            tracing::warn!(job_id = %driver.job.job_id, %why, "a job is given back");
            driver.job.held.release(&why);
        }
        Over::GiveBack(why) => {
            let reason = format!(
                "This runner failed the job {STRIKES} times, at last: {why}. Look at the runner's log."
            );
            if let Err(error) = driver.job.report(Report::Ended(failed("runner", reason))) {
                driver.job.held.release(&format!("{why}; {error}"));
            }
        }
        Over::Broken(Unreported::Illegal(refusal)) => {
            tracing::error!(job_id = %driver.job.job_id, %refusal, "a report did not fit; the job is given back");
            driver.job.held.release(&format!("the runner and the machine disagree: {refusal}"));
        }
        Over::Broken(disk @ Unreported::Disk { .. }) => {
            tracing::error!(job_id = %driver.job.job_id, error = %disk, "the job ends");
            // Not on disk either, but the server may be there to take it.
            let _ = driver.job.report(Report::Ended(failed("runner_disk", disk_reason(&disk))));
        }
    }
}

fn disk_reason(disk: &Unreported) -> String {
    format!(
        "The runner can't keep its work safe: {disk}. Free some space on its state folder and start the task again."
    )
}

struct Driver {
    job: Arc<Job>,
    executor: Arc<dyn Executor>,
    stop: CancellationToken,
    work: Option<Box<dyn Work>>,
}

/// Why the driving is over.
enum Over {
    Ended,
    GiveBack(String),
    Broken(Unreported),
}

impl From<Unreported> for Over {
    fn from(unreported: Unreported) -> Self {
        Self::Broken(unreported)
    }
}

impl Driver {
    async fn run(&mut self) -> Over {
        loop {
            let went_on = match self.job.next() {
                Next::Start { index } => self.step(index).await,
                // Left by a lease of ours that was cut: the machine counts it as running still.
                Next::Continue { index } => self.attempt(index).await,
                Next::Wait { until } => self.wait(until).await,
                Next::Stop(end) => self.end(end),
                Next::Ended => return Over::Ended,
            };
            if let Err(over) = went_on {
                return over;
            }
        }
    }

    async fn step(&mut self, index: usize) -> Result<(), Over> {
        let step_id = self.job.look(|state| state.steps[index].id.clone());
        let repeated = self.job.look(|state| state.steps[index].failures > 0);
        if repeated && let Some(work) = self.work.take() {
            // A failed attempt leaves its traces; the next one starts from the last checkpoint.
            work.close().await;
        }
        if self.work.is_none() {
            match self.open().await? {
                Some(work) => self.work = Some(work),
                None => return Ok(()),
            }
        }
        self.job.report(Report::StepStarted { step_id })?;
        self.attempt(index).await
    }

    /// Opens the place to work in; `None` if the job goes another way now.
    async fn open(&mut self) -> Result<Option<Box<dyn Work>>, Over> {
        let (job, executor, stop) = (self.job.clone(), self.executor.clone(), self.stop.clone());
        let opened = tokio::select! {
            opened = executor.open(job.clone()) => opened,
            interruption = job.interrupted() => return self.interrupted(interruption).map(|()| None),
            () = stop.cancelled() => return Err(Over::GiveBack("the runner is stopping".to_owned())),
        };
        match opened {
            Ok(work) => Ok(Some(work)),
            Err(Unopened::End(end)) => self.end(end).map(|()| None),
            Err(Unopened::GiveBack(why)) => Err(Over::GiveBack(why)),
        }
    }

    async fn attempt(&mut self, index: usize) -> Result<(), Over> {
        if self.work.is_none() {
            match self.open().await? {
                Some(work) => self.work = Some(work),
                None => return Ok(()),
            }
        }
        let Some(work) = self.work.as_mut() else { return Ok(()) };
        let (step_id, attempt, timeout) = self.job.look(|state| {
            let step = &state.steps[index];
            (step.id.clone(), step.attempts, state.spec.steps[index].timeout.to_std())
        });
        let told_to_stop = CancellationToken::new();
        let mut running = work.attempt(index, attempt, told_to_stop.clone());
        let interruption = tokio::select! {
            attempted = &mut running => {
                drop(running);
                return self.attempted(step_id, attempted);
            }
            interruption = self.job.interrupted() => interruption,
            () = self.stop.cancelled() => {
                told_to_stop.cancel();
                let _ = tokio::time::timeout(STOP, running).await;
                return Err(Over::GiveBack("the runner is stopping".to_owned()));
            }
            () = tokio::time::sleep(timeout + OVERDUE) => {
                drop(running);
                self.close().await;
                let reason = format!("It was still running {} s after its time limit and was ended by force.", OVERDUE.as_secs());
                let result = StepResult::Failed { code: "timeout".to_owned(), reason };
                return self.attempted(step_id, Attempted::Ended(result));
            }
        };
        if interruption != Interruption::Over {
            told_to_stop.cancel();
            let _ = tokio::time::timeout(STOP, running).await;
        } else {
            drop(running);
        }
        self.close().await;
        self.interrupted(interruption)
    }

    fn attempted(
        &mut self,
        step_id: windlass_run::StepId,
        attempted: Attempted,
    ) -> Result<(), Over> {
        match attempted {
            Attempted::Ended(result) => {
                self.job.report(Report::StepEnded { step_id, result })?;
                Ok(())
            }
            Attempted::JobEnded(end) => self.end(end),
            Attempted::GiveBack(why) => Err(Over::GiveBack(why)),
        }
    }

    async fn wait(&mut self, until: windlass_run::Time) -> Result<(), Over> {
        let rest = until.since(self.job.now()).to_std() + Duration::from_millis(1);
        tokio::select! {
            () = tokio::time::sleep(rest) => Ok(()),
            interruption = self.job.interrupted() => self.interrupted(interruption),
            () = self.stop.cancelled() => Err(Over::GiveBack("the runner is stopping".to_owned())),
        }
    }

    fn interrupted(&self, interruption: Interruption) -> Result<(), Over> {
        match interruption {
            Interruption::Over => Err(Over::Ended),
            Interruption::Stop(end) => self.end(end),
            Interruption::Refused(why) => {
                Err(Over::GiveBack(format!("the server refused a report: {why}")))
            }
        }
    }

    fn end(&self, end: End) -> Result<(), Over> {
        if self.job.look(|state| matches!(state.phase, Phase::Ended(_))) {
            return Err(Over::Ended);
        }
        self.job.report(Report::Ended(end))?;
        Ok(())
    }

    async fn close(&mut self) {
        if let Some(work) = self.work.take() {
            work.close().await;
        }
    }
}
