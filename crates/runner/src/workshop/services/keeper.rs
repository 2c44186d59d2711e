//! The keeper of one service: starts it, watches it, starts it again as its policy says or somebody wishes,
//! asks whether it is ready, and stops it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use windlass_devcontainer::automation::Restart;
use windlass_run::environment::Ended;
use windlass_sandbox::{Exec, OperationId, State};

use super::{ENDS, GRACE, PAUSES, QUESTION, STEADY, Sink, Stage, Status, Wanted, log::Log};
use crate::{
    options::Clock,
    workshop::{
        command,
        environment::{Access, Broken, Ran},
        setup::{Lines, Tail},
    },
};

/// Keeps one service until its environment ends.
pub(super) struct Keeper {
    pub(super) access: Access,
    pub(super) name: String,
    pub(super) template: Exec,
    pub(super) stop_command: Option<Exec>,
    /// How to find out whether it is ready, and for how long that is asked.
    pub(super) ready: Option<(Exec, Duration)>,
    pub(super) restart: Restart,
    pub(super) sink: Sink,
    pub(super) tail: Tail,
    pub(super) lines: Lines,
    pub(super) stop: CancellationToken,
    pub(super) log: Arc<Log>,
    pub(super) status: watch::Sender<Status>,
    pub(super) wishes: watch::Receiver<Wanted>,
    /// How it ended for good, for whoever waits for it at the start.
    pub(super) state: watch::Sender<Option<String>>,
    pub(super) clock: Clock,
    pub(super) ends: Arc<Mutex<VecDeque<Ended>>>,
}

/// What a service did after it was started.
enum Did {
    /// It ended by itself.
    Ended(State),
    /// It was ended: something else is wanted.
    Obeyed,
}

impl Keeper {
    /// Keeps it.
    pub(super) async fn keep(mut self) {
        let (mut starts, mut ends) = (0u32, 0u32);
        loop {
            let wanted = *self.wishes.borrow_and_update();
            if !wanted.runs {
                self.is(Stage::Stopped, wanted);
                ends = 0;
                if self.until_news().await { continue } else { return }
            }
            starts += 1;
            self.begins(starts, wanted);
            let began = Instant::now();
            let ended = match self.once(starts).await {
                Ok(Did::Ended(ended)) => ended,
                Ok(Did::Obeyed) if self.stop.is_cancelled() => return,
                Ok(Did::Obeyed) => {
                    ends = 0;
                    continue;
                }
                Err(error) => {
                    let why = format!("it could not be run: {error}");
                    self.say(&why);
                    self.over(Stage::Failed, why, wanted);
                    if self.until_news().await { continue } else { return }
                }
            };
            let how = command::in_words(&Ran::Ended(ended.clone()));
            let how = if ended.is_success() { "exit 0".to_owned() } else { how };
            ends = if began.elapsed() >= STEADY { 1 } else { ends.saturating_add(1) };
            let again = self.restart.again(ended.is_success());
            self.note(&how, ends, again);
            if !again {
                self.say(&format!("it ended: {how}"));
                self.over(Stage::Ended, how, wanted);
                if self.until_news().await { continue } else { return }
            }
            let pause = Restart::pause(ends);
            self.say(&format!("it ended: {how}; it starts again in {} ms", pause.as_millis()));
            self.status.send_modify(|status| status.last_end = Some(how));
            self.is(Stage::Waiting, wanted);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                is_news = self.until_news() => if !is_news { return },
            }
        }
    }

    /// Waits for another wish. False at the end of the environment.
    async fn until_news(&self) -> bool {
        let mut wishes = self.wishes.clone();
        tokio::select! {
            changed = wishes.changed() => changed.is_ok(),
            () = self.stop.cancelled() => false,
        }
    }

    fn is(&self, stage: Stage, wanted: Wanted) {
        let since = (self.clock)();
        self.status.send_modify(|status| {
            (status.stage, status.since, status.number) = (stage, since, wanted.number);
        });
    }

    /// It is started; whoever watched it through an earlier end learns of that.
    fn begins(&self, starts: u32, wanted: Wanted) {
        if starts > 1 {
            self.state.send_replace(None);
        }
        self.status.send_modify(|status| {
            (status.starts, status.number) = (starts, wanted.number);
        });
        // Without a way to find out, it is ready at once.
        let is_ready = self.ready.is_none();
        // The first start was noted before anybody could ask whether it is ready.
        if starts > 1 || is_ready {
            self.is(if is_ready { Stage::Ready } else { Stage::Starting }, wanted);
        }
    }

    fn over(&self, stage: Stage, how: String, wanted: Wanted) {
        self.status.send_modify(|status| status.last_end = Some(how.clone()));
        self.is(stage, wanted);
        self.state.send_replace(Some(how));
    }

    /// Remembers an end for whoever tells of it: of many in a row ever fewer.
    fn note(&self, how: &str, ends: u32, again: bool) {
        if again && ends > 3 && !ends.is_power_of_two() {
            return;
        }
        let end = Ended {
            name: self.name.clone(),
            at: (self.clock)(),
            how: how.to_owned(),
            again,
            in_a_row: ends,
        };
        let mut kept = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(end);
        if kept.len() > ENDS {
            kept.pop_front();
        }
    }

    /// Runs it once.
    async fn once(&mut self, starts: u32) -> Result<Did, Broken> {
        let mut exec = self.template.clone();
        exec.operation = OperationId::parse(&format!("{}-{starts}", exec.operation))?;
        let operation = exec.operation.clone();
        self.access.backend.exec(&self.access.id, &exec).await?;
        // Whoever made the environment ready asks after the first start.
        let _asking = (starts > 1).then(|| self.ask_whether_ready(starts)).flatten();
        let mut position = 0;
        let (mut wishes, stop) = (self.wishes.clone(), self.stop.clone());
        let ended = tokio::select! {
            ended = self.follow(&operation, &mut position) => Some(ended?),
            _ = wishes.changed() => None,
            () = stop.cancelled() => None,
        };
        if ended.is_none() {
            self.ask_to_end(&operation, starts).await?;
            let _ = tokio::time::timeout(GRACE, self.follow(&operation, &mut position)).await;
        }
        // What it started belongs to it.
        self.access.backend.kill(&self.access.id, &operation).await?;
        self.access.backend.forget(&self.access.id, &operation).await?;
        Ok(ended.map_or(Did::Obeyed, Did::Ended))
    }

    /// Asks until it is ready or its time for that is over. Ends with what is returned.
    fn ask_whether_ready(&self, starts: u32) -> Option<DropGuard> {
        let (template, patience) = self.ready.clone()?;
        let (access, status, halt) =
            (self.access.clone(), self.status.clone(), CancellationToken::new());
        let guard = halt.clone().drop_guard();
        let (clock, name) = (self.clock.clone(), self.name.clone());
        tokio::spawn(async move {
            let until = Instant::now() + patience;
            let mut pause = PAUSES.0;
            for n in 0u32.. {
                let mut exec = template.clone();
                match OperationId::parse(&format!("{}-{starts}-{n}", exec.operation)) {
                    Ok(operation) => exec.operation = operation,
                    Err(_) => return,
                }
                match access.run(exec, QUESTION, &halt, |_| Ok(())).await {
                    Ok(Ran::Ended(State::Exited { code: 0 })) => {
                        let since = clock();
                        status.send_if_modified(|status| {
                            let is_this =
                                status.stage == Stage::Starting && status.starts == starts;
                            if is_this {
                                (status.stage, status.since) = (Stage::Ready, since);
                            }
                            is_this
                        });
                        return;
                    }
                    Ok(Ran::Ended(_) | Ran::TimedOut | Ran::Short(_)) => {}
                    Ok(Ran::Stopped) | Err(_) => return,
                }
                if Instant::now() >= until {
                    tracing::debug!(
                        service = name,
                        "a service that was started again is not ready in time"
                    );
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = halt.cancelled() => return,
                }
                pause = (pause * 2).min(PAUSES.1);
            }
        });
        Some(guard)
    }

    async fn follow(
        &mut self,
        operation: &OperationId,
        position: &mut u64,
    ) -> Result<State, Broken> {
        let access = self.access.clone();
        let (tail, lines, sink, log) = (&self.tail, &mut self.lines, &self.sink, &self.log);
        let mut output = |bytes: &[u8]| {
            tail.add(bytes);
            log.add(bytes);
            sink.write(&lines.take(bytes));
            Ok(())
        };
        let status = access.follow(operation, position, &mut output).await?;
        self.sink.write(&self.lines.rest());
        Ok(status.state)
    }

    async fn ask_to_end(&self, operation: &OperationId, starts: u32) -> Result<(), Broken> {
        const TERM: i32 = 15;
        match &self.stop_command {
            Some(exec) => {
                let mut exec = exec.clone();
                exec.operation = OperationId::parse(&format!("{}-{starts}", exec.operation))?;
                let said = |bytes: &[u8]| {
                    self.sink.write(bytes);
                    self.log.add(bytes);
                    Ok(())
                };
                let never = CancellationToken::new();
                self.access.run(exec, GRACE, &never, said).await?;
            }
            None => self.access.backend.signal(&self.access.id, operation, TERM).await?,
        }
        Ok(())
    }

    fn say(&self, what: &str) {
        let line = format!("[windlass: service {}: {what}]\n", self.name);
        self.sink.write(line.as_bytes());
        self.log.add(line.as_bytes());
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.log.finish();
    }
}
