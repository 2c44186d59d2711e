//! Drives one leased job to its end: asks the machine what is next, has it done, reports it. The
//! same path serves a fresh job and one that was requeued after a crash.
//!
//! Nothing here knows what a step does; see [`crate::executor`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_run::{
    Time,
    job::{End, Next, Phase, Report, StepResult},
};

use crate::{
    executor::{Attempted, Executor, Unopened, Work},
    held::Told,
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
    let (flights, under_way) = (FuturesUnordered::new(), BTreeMap::new());
    let mut driver = Driver { job, executor, stop, work: None, flights, under_way };
    let over = driver.run().await;
    driver.ground(false).await;
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

/// Ends a job whose driving is over without an end, a rest or a word that it is given back: its lease
/// would be renewed for nobody, or run out without a reason.
pub(crate) fn make_sure_of_an_end(job: &Job, panicked: bool) {
    let at_work = |phase: &Phase| matches!(phase, Phase::Leased { .. });
    if !job.held.is_kept() || !job.look(|state| at_work(&state.phase)) {
        return;
    }
    let how = if panicked { "broke off by a mistake of its own" } else { "ended without a result" };
    tracing::error!(job_id = %job.job_id, "the driving of a job {how}; the job ends");
    let reason =
        format!("The runner's work on this job {how}. Its log says where; please report it.");
    if let Err(error) = job.report(Report::Ended(failed("runner", reason))) {
        job.held.release(&format!("the driving of the job {how}; {error}"));
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
    /// The attempts under way, and what tells each to stop.
    flights: FuturesUnordered<BoxFuture<'static, Landed>>,
    under_way: BTreeMap<usize, CancellationToken>,
}

/// An attempt is over.
struct Landed {
    index: usize,
    /// `None` if it did not end by itself in all its time.
    attempted: Option<Attempted>,
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
        let mut news = self.job.held.told();
        loop {
            news.borrow_and_update();
            let id = |index: usize| self.job.look(|state| state.steps[index].id.clone());
            let went_on = match self.job.next() {
                Next::Settle => self.say(Report::Settle),
                Next::Rested { index } => self.say(Report::Rested { step_id: id(index) }),
                Next::Decided { index } => self.say(Report::Decided { step_id: id(index) }),
                Next::Rest => {
                    // What a later lease begins with is in the checkpoints.
                    self.ground(false).await;
                    self.say(Report::Rest).and(Err(Over::Ended))
                }
                Next::Go { start, running, until } => {
                    self.go(&start, &running, until, &mut news).await
                }
                Next::Wait { until } => self.wait(Some(until), &mut news).await,
                Next::Stop(end) => {
                    self.ground(true).await;
                    self.end(end)
                }
                Next::Ended => return Over::Ended,
            };
            if let Err(over) = went_on {
                self.ground(!matches!(over, Over::Ended)).await;
                return over;
            }
        }
    }

    /// Begins what is to be begun, and waits until something has changed.
    async fn go(
        &mut self,
        start: &[usize],
        running: &[usize],
        until: Option<Time>,
        news: &mut watch::Receiver<Told>,
    ) -> Result<(), Over> {
        let alone = self.under_way.is_empty();
        let repeated = |index: &usize| self.job.look(|state| state.steps[*index].failures > 0);
        if alone
            && start.iter().any(repeated)
            && let Some(work) = self.work.take()
        {
            // A failed attempt leaves its traces; the next one starts from the last checkpoint. Beside
            // others there is no way back: they go on with what is there.
            work.close().await;
        }
        if self.work.is_none() {
            match self.open().await? {
                Some(work) => self.work = Some(work),
                None => return Ok(()),
            }
        }
        for index in start {
            let step_id = self.job.look(|state| state.steps[*index].id.clone());
            self.job.report(Report::StepStarted { step_id })?;
            self.begin(*index);
        }
        for index in running {
            // Left by a lease of ours that was cut: the machine counts it as running still.
            if !self.under_way.contains_key(index) {
                self.begin(*index);
            }
        }
        self.wait(until, news).await
    }

    fn begin(&mut self, index: usize) {
        let Some(work) = &self.work else { return };
        let (attempt, timeout) = self
            .job
            .look(|state| (state.steps[index].attempts, state.definition(index).timeout.to_std()));
        let told_to_stop = CancellationToken::new();
        let running = work.attempt(index, attempt, told_to_stop.clone());
        self.under_way.insert(index, told_to_stop);
        self.flights.push(Box::pin(async move {
            let attempted = tokio::time::timeout(timeout + OVERDUE, running).await.ok();
            Landed { index, attempted }
        }));
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

    /// Waits until an attempt is over, the time has come, the server has news, or the job can't go on
    /// as it was.
    async fn wait(
        &mut self,
        until: Option<Time>,
        news: &mut watch::Receiver<Told>,
    ) -> Result<(), Over> {
        let rest = until.map(|until| until.since(self.job.now()).to_std());
        let rest = rest.map(|rest| rest + Duration::from_millis(1));
        let interruption = tokio::select! {
            Some(landed) = self.flights.next() => return self.landed(landed).await,
            () = sleep(rest) => return Ok(()),
            Ok(()) = news.changed() => return Ok(()),
            interruption = self.job.interrupted() => interruption,
            () = self.stop.cancelled() => {
                return Err(Over::GiveBack("the runner is stopping".to_owned()));
            }
        };
        if self.work.is_some() {
            self.ground(interruption != Interruption::Over).await;
        }
        self.interrupted(interruption)
    }

    async fn landed(&mut self, landed: Landed) -> Result<(), Over> {
        let Landed { index, attempted } = landed;
        self.under_way.remove(&index);
        let step_id = self.job.look(|state| state.steps[index].id.clone());
        match attempted {
            Some(Attempted::Ended(result)) => self.say(Report::StepEnded { step_id, result }),
            Some(Attempted::JobEnded(end)) => {
                self.ground(true).await;
                self.end(end)
            }
            Some(Attempted::GiveBack(why)) => Err(Over::GiveBack(why)),
            None => {
                // Its place is unfit now. What else was going on begins anew in another.
                self.ground(true).await;
                let reason = format!(
                    "It was still running {} s after its time limit and was ended by force.",
                    OVERDUE.as_secs()
                );
                let result = StepResult::Failed { code: "timeout".to_owned(), reason };
                self.say(Report::StepEnded { step_id, result })
            }
        }
    }

    /// Ends all attempts, with time to end themselves if they should have it, and closes the place.
    async fn ground(&mut self, gently: bool) {
        if gently {
            self.under_way.values().for_each(CancellationToken::cancel);
            let all = async { while self.flights.next().await.is_some() {} };
            let _ = tokio::time::timeout(STOP, all).await;
        }
        self.flights.clear();
        self.under_way.clear();
        if let Some(work) = self.work.take() {
            work.close().await;
        }
    }

    fn say(&self, report: Report) -> Result<(), Over> {
        self.job.report(report)?;
        Ok(())
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
}

/// Until then; never, if there is no then.
async fn sleep(rest: Option<Duration>) {
    match rest {
        Some(rest) => tokio::time::sleep(rest).await,
        None => std::future::pending().await,
    }
}
