//! The one writer. It runs commands in groups: one transaction, one commit, then all answers. If a
//! group fails, it is given up as a whole and its commands run again, each in a transaction of its
//! own, so that one bad command can't take others along.

pub(crate) mod flush;
pub(crate) mod generations;
pub(crate) mod memory;
pub(crate) mod queue;
pub(crate) mod thread;
pub(crate) mod tx;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::{oneshot, watch};

use crate::{
    Error, Stats,
    database::{Connection, Failure},
    dialect::locking::FileLock,
    feed::Hint,
    options::Fault,
    writer::{
        memory::Memory,
        tx::{Group, Tx},
    },
};

/// A command on its way through the writer. It may run more than once, but answers once.
pub(crate) trait Command: Send {
    /// Runs it; what it gives is kept for the answer.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Error>;
    /// Answers, after the commit or with the error that kept it from happening.
    fn answer(self: Box<Self>, outcome: Result<(), Error>);
}

/// A function as a command.
pub(crate) struct Typed<T, F> {
    function: F,
    given: Option<T>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Typed<T, F>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, Error>,
{
    pub(crate) fn new(function: F) -> (Self, oneshot::Receiver<Result<T, Error>>) {
        let (reply, answer) = oneshot::channel();
        (Self { function, given: None, reply }, answer)
    }
}

impl<T, F> Command for Typed<T, F>
where
    T: Send,
    F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Error> {
        self.given = Some((self.function)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), Error>) {
        let this = *self;
        let answer = outcome.and_then(|()| {
            this.given.ok_or_else(|| Error::Database { context: "no answer was made".to_owned() })
        });
        // Whoever asked may have gone away; the command was carried out all the same.
        let _gone = this.reply.send(answer);
    }
}

/// What has been done since the store was opened, for everyone to read.
#[derive(Default)]
pub(crate) struct Counted {
    commands: AtomicU64,
    commits: AtomicU64,
    fsyncs: AtomicU64,
    replays: AtomicU64,
}

impl Counted {
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            commands: self.commands.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            fsyncs: self.fsyncs.load(Ordering::Relaxed),
            replays: self.replays.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn add_fsyncs(&self, n: u64) {
        self.fsyncs.fetch_add(n, Ordering::Relaxed);
    }
}

/// The writer's world: the connection, and what it remembers of what it committed.
pub(crate) struct Core {
    pub(crate) connection: Connection,
    memory: Memory,
    group: Group,
    hint: watch::Sender<Hint>,
    counted: Arc<Counted>,
    lost: bool,
    fault: Option<Fault>,
    /// Held as long as the connection is.
    _lock: Option<FileLock>,
}

impl Core {
    pub(crate) fn new(
        connection: Connection,
        memory: Memory,
        hint: watch::Sender<Hint>,
        counted: Arc<Counted>,
        fault: Option<Fault>,
        lock: Option<FileLock>,
    ) -> Self {
        let group = Group::default();
        Self { connection, memory, group, hint, counted, lost: false, fault, _lock: lock }
    }

    /// Runs commands as one group and answers them.
    pub(crate) fn run(&mut self, mut commands: Vec<Box<dyn Command>>) {
        self.counted.commands.fetch_add(commands.len() as u64, Ordering::Relaxed);
        if self.lost
            && let Err(error) = self.recover()
        {
            let context = error.to_string();
            for command in commands {
                command.answer(Err(Error::Unavailable { context: context.clone() }));
            }
            return;
        }
        match self.attempt(&mut commands) {
            Ok(outcomes) => {
                for (command, outcome) in commands.into_iter().zip(outcomes) {
                    command.answer(outcome);
                }
            }
            Err(Broken::Lost(context)) => self.answer_lost(commands, &context),
            Err(Broken::Group(error)) if commands.len() == 1 => {
                for command in commands {
                    command.answer(Err(error.clone()));
                }
            }
            Err(Broken::Group(_)) => self.replay(commands),
        }
        let fsyncs = self.connection.tend();
        self.counted.fsyncs.fetch_add(fsyncs, Ordering::Relaxed);
    }

    fn replay(&mut self, commands: Vec<Box<dyn Command>>) {
        self.counted.replays.fetch_add(1, Ordering::Relaxed);
        for command in commands {
            let mut alone = vec![command];
            let outcome = match self.attempt(&mut alone) {
                Ok(mut outcomes) => outcomes.pop().unwrap_or(Ok(())),
                Err(Broken::Group(error)) => Err(error),
                Err(Broken::Lost(context)) => Err(Error::Unavailable { context }),
            };
            for command in alone {
                command.answer(outcome.clone());
            }
        }
    }

    fn answer_lost(&mut self, commands: Vec<Box<dyn Command>>, context: &str) {
        for command in commands {
            command.answer(Err(Error::Unavailable { context: context.to_owned() }));
        }
    }

    /// One transaction. Gives each command's outcome, all of them committed, or nothing of it.
    fn attempt(
        &mut self,
        commands: &mut [Box<dyn Command>],
    ) -> Result<Vec<Result<(), Error>>, Broken> {
        let mut outcomes = Vec::with_capacity(commands.len());
        let marks = self.memory.marks();
        let mut broken = None;
        for command in &mut *commands {
            let mut tx = Tx::new(&mut self.connection, &mut self.memory, &mut self.group);
            let outcome = command.run(&mut tx);
            // A command that fails after it began to write must leave nothing behind.
            if let Some(failure) = self.group.failure.take() {
                broken = Some(failure.into());
                break;
            }
            match outcome {
                Err(error) if self.group.touched => {
                    broken = Some(Broken::Group(error));
                    break;
                }
                outcome => outcomes.push(outcome),
            }
        }
        let finished = match broken {
            Some(broken) => Err(broken),
            None => self.finish(),
        };
        match finished {
            Ok(()) => {
                self.group.forget();
                self.memory.shrink();
                Ok(outcomes)
            }
            Err(broken) => {
                self.give_up(marks);
                if matches!(broken, Broken::Lost(_)) {
                    self.lost = true;
                }
                Err(broken)
            }
        }
    }

    /// Writes what is still pending and commits.
    fn finish(&mut self) -> Result<(), Broken> {
        let mut tx = Tx::new(&mut self.connection, &mut self.memory, &mut self.group);
        tx.flush().map_err(Broken::from)?;
        if self.group.begun {
            if self.fault.as_ref().is_some_and(|fault| (fault.0)()) {
                return Err(Failure::Statement("a fault was asked for".to_owned()).into());
            }
            self.connection.commit().map_err(Broken::from)?;
            self.counted.commits.fetch_add(1, Ordering::Relaxed);
            self.counted.fsyncs.fetch_add(1, Ordering::Relaxed);
            let hint = self.memory.hint();
            self.hint.send_if_modified(|current| {
                let changed = *current != hint;
                *current = hint;
                changed
            });
        }
        Ok(())
    }

    fn give_up(&mut self, marks: memory::Marks) {
        if self.group.begun
            && let Err(failure) = self.connection.rollback()
        {
            tracing::warn!(?failure, "a transaction could not be given up");
        }
        for (job_id, before) in self.group.jobs_before.drain() {
            self.memory.put_job(&job_id, before);
        }
        for run_id in self.group.runs_touched.drain() {
            self.memory.runs.remove(&run_id);
        }
        for run_id in self.group.fleets_touched.drain() {
            self.memory.fleets.remove(&run_id);
        }
        for stream in self.group.streams_touched.drain() {
            self.memory.streams.remove(&stream);
        }
        self.memory.restore(marks);
        self.group.forget();
    }

    /// Connects again and begins with an empty memory, as after a restart.
    fn recover(&mut self) -> Result<(), Error> {
        self.connection.reconnect()?;
        let fresh = self.memory.reload(&mut self.connection)?;
        self.memory = fresh;
        self.lost = false;
        Ok(())
    }
}

/// Why a group was given up.
enum Broken {
    /// The connection is lost.
    Lost(String),
    /// A command or the commit failed.
    Group(Error),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost(context) => Self::Lost(context),
            other => Self::Group(other.into_error()),
        }
    }
}
