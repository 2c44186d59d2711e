//! Services of an environment: started, watched, started again as their policy says, and stopped in the
//! opposite order. Each is an operation of the environment like any other, in its network and with its
//! rights.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use windlass_devcontainer::automation::{Restart, Service};
use windlass_sandbox::{Error, Exec, OperationId, State};

use super::{
    command,
    environment::{Access, Broken, Environment, Ran, set_all},
    setup::{Lines, Tail},
};
use crate::held::Writer;

/// How long a service may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);
/// How long one question whether a service is ready may take.
const QUESTION: Duration = Duration::from_secs(30);
/// The pause between two questions: short at first, since most services are quick.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// A service that ran this long had started well: its next pause is short again.
pub(super) const STEADY: Duration = Duration::from_secs(60);
/// How much output waits for the next step's log.
const WAITING: usize = 64 * 1024;

/// The services of one environment.
#[derive(Default)]
pub(crate) struct Services {
    running: Mutex<Vec<Running>>,
    sink: Sink,
}

struct Running {
    /// Whether it runs in the environment, as its user.
    is_inside: bool,
    stop: DropGuard,
    kept: JoinHandle<()>,
}

/// What is known of a service while it is waited for.
pub(crate) struct Life {
    state: watch::Receiver<Option<String>>,
    /// The end of its output.
    pub(crate) tail: Tail,
}

/// Why a service is not ready.
pub(crate) enum Unready {
    /// Somebody said to stop.
    Stopped,
    /// The environment failed.
    Broken(Broken),
    /// Its own fault, as the end of a sentence.
    Why(String),
}

impl Services {
    /// From now on output goes to this log.
    pub(crate) fn attach(&self, log: &Writer) {
        self.sink.attach(log);
    }

    /// The log ends; output waits for the next one.
    pub(crate) fn detach(&self) {
        self.sink.lock().log = None;
    }

    /// Starts a service and keeps it.
    pub(crate) fn start(
        &self,
        environment: &Environment,
        name: &str,
        service: &Service,
    ) -> Result<Life, Error> {
        let mut template = environment.exec("service", Environment::shell(&service.start))?;
        set_all(&mut template.env, &service.env);
        let stop_command = match &service.stop {
            Some(stop) => {
                let mut exec = environment.exec("service-stop", Environment::shell(stop))?;
                set_all(&mut exec.env, &service.env);
                Some(exec)
            }
            None => None,
        };
        let (sender, state) = watch::channel(None);
        let tail = Tail::default();
        let stop = CancellationToken::new();
        let keeper = Keeper {
            access: environment.access(),
            name: name.to_owned(),
            template,
            stop_command,
            restart: service.restart,
            sink: self.sink.clone(),
            tail: tail.clone(),
            lines: Lines::new(Some(name.to_owned())),
            stop: stop.clone(),
        };
        let kept = tokio::spawn(keeper.keep(sender));
        let running = Running { is_inside: true, stop: stop.drop_guard(), kept };
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(running);
        Ok(Life { state, tail })
    }

    /// Keeps what watches a service that runs beside the environment, in a container of its own.
    pub(super) fn keep(&self, stop: &CancellationToken, kept: JoinHandle<()>) {
        let running = Running { is_inside: false, stop: stop.clone().drop_guard(), kept };
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(running);
    }

    /// Where output of services goes.
    pub(super) fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Whether any was started that runs in the environment, as its user: what it is given, they could know.
    /// Those in containers of their own see neither its processes nor its files.
    pub(crate) fn is_any(&self) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().any(|service| service.is_inside)
    }

    /// Stops all, the last first, each with its grace.
    pub(crate) async fn stop(&self) {
        let running =
            std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        for service in running.into_iter().rev() {
            drop(service.stop);
            let _ = service.kept.await;
        }
    }
}

/// Waits until a service is ready, or can't be any more.
pub(crate) async fn until_ready(
    environment: &Environment,
    service: &Service,
    life: &mut Life,
    until: Instant,
    halt: &CancellationToken,
) -> Result<(), Unready> {
    let Some(ready) = &service.ready else { return Ok(()) };
    let until = until.min(Instant::now() + ready.timeout);
    let mut pause = PAUSES.0;
    let mut last = "was not asked yet".to_owned();
    loop {
        let argv = Environment::shell(&ready.command);
        let exec = environment.exec("service-ready", argv);
        let mut exec = exec.map_err(|error| Unready::Broken(Broken::Environment(error)))?;
        set_all(&mut exec.env, &service.env);
        let left = until.saturating_duration_since(Instant::now());
        let tail = Tail::default();
        let keep = |bytes: &[u8]| {
            tail.add(bytes);
            Ok(())
        };
        let ran = environment.run(exec, QUESTION.min(left), halt, keep).await;
        match ran.map_err(Unready::Broken)? {
            Ran::Ended(State::Exited { code: 0 }) => return Ok(()),
            Ran::Stopped => return Err(Unready::Stopped),
            ran @ (Ran::Ended(_) | Ran::TimedOut) => last = in_words(&ran, last),
        }
        if let Some(how) = &*life.state.borrow_and_update() {
            return Err(Unready::Why(format!("ended before it was ready: {how}.")));
        }
        if Instant::now() >= until {
            return Err(Unready::Why(format!(
                "was not ready within {} s: `{}` at last: {last}.",
                ready.timeout.as_secs(),
                command::one_line(&ready.command),
            )));
        }
        tokio::select! {
            // A service that ended is looked at once more and then given up.
            _ = life.state.changed() => {}
            () = tokio::time::sleep(pause.min(until.saturating_duration_since(Instant::now()))) => {}
            () = halt.cancelled() => return Err(Unready::Stopped),
        }
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// A question that was cut off by the end of all waiting says nothing new.
fn in_words(ran: &Ran, last: String) -> String {
    match ran {
        Ran::TimedOut if last != "was not asked yet" => last,
        ran => command::in_words(ran),
    }
}

/// Where output goes.
#[derive(Clone, Default)]
pub(super) struct Sink(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    log: Option<Writer>,
    bytes: Vec<u8>,
}

impl Sink {
    fn attach(&self, log: &Writer) {
        let mut sink = self.lock();
        let waiting = std::mem::take(&mut sink.bytes);
        // A full disk is met again by the step itself, which says so.
        let _ = log.append(&waiting);
        sink.log = Some(log.clone());
    }

    pub(super) fn write(&self, bytes: &[u8]) {
        let mut sink = self.lock();
        match &sink.log {
            Some(log) => {
                let _ = log.append(bytes);
            }
            None if sink.bytes.len() < WAITING => sink.bytes.extend_from_slice(bytes),
            None => {}
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one service until it is stopped or has ended for good.
struct Keeper {
    access: Access,
    name: String,
    template: Exec,
    stop_command: Option<Exec>,
    restart: Restart,
    sink: Sink,
    tail: Tail,
    lines: Lines,
    stop: CancellationToken,
}

impl Keeper {
    async fn keep(mut self, state: watch::Sender<Option<String>>) {
        let (mut starts, mut ends) = (0u32, 0u32);
        loop {
            starts += 1;
            let began = Instant::now();
            let ended = match self.once(starts).await {
                Ok(Some(ended)) => ended,
                Ok(None) => return,
                Err(error) => {
                    let why = format!("it could not be run: {error}");
                    self.say(&why);
                    state.send_replace(Some(why));
                    return;
                }
            };
            let how = command::in_words(&Ran::Ended(ended.clone()));
            let how = if ended.is_success() { "exit 0".to_owned() } else { how };
            if !self.restart.again(ended.is_success()) {
                self.say(&format!("it ended: {how}"));
                state.send_replace(Some(how));
                return;
            }
            ends = if began.elapsed() >= STEADY { 1 } else { ends.saturating_add(1) };
            let pause = Restart::pause(ends);
            self.say(&format!("it ended: {how}; it starts again in {} ms", pause.as_millis()));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Runs it once; `None` if it was stopped.
    async fn once(&mut self, starts: u32) -> Result<Option<State>, Broken> {
        let mut exec = self.template.clone();
        exec.operation = OperationId::parse(&format!("{}-{starts}", exec.operation))?;
        let operation = exec.operation.clone();
        self.access.backend.exec(&self.access.id, &exec).await?;
        let mut position = 0;
        let stop = self.stop.clone();
        let ended = tokio::select! {
            ended = self.follow(&operation, &mut position) => Some(ended?),
            () = stop.cancelled() => None,
        };
        if ended.is_none() {
            self.ask_to_end(&operation).await?;
            let _ = tokio::time::timeout(GRACE, self.follow(&operation, &mut position)).await;
        }
        // What it started belongs to it.
        self.access.backend.kill(&self.access.id, &operation).await?;
        self.access.backend.forget(&self.access.id, &operation).await?;
        Ok(ended)
    }

    async fn follow(
        &mut self,
        operation: &OperationId,
        position: &mut u64,
    ) -> Result<State, Broken> {
        let access = self.access.clone();
        let (tail, lines, sink) = (&self.tail, &mut self.lines, &self.sink);
        let mut output = |bytes: &[u8]| {
            tail.add(bytes);
            sink.write(&lines.take(bytes));
            Ok(())
        };
        let status = access.follow(operation, position, &mut output).await?;
        self.sink.write(&self.lines.rest());
        Ok(status.state)
    }

    async fn ask_to_end(&self, operation: &OperationId) -> Result<(), Broken> {
        const TERM: i32 = 15;
        match &self.stop_command {
            Some(exec) => {
                let said = |bytes: &[u8]| {
                    self.sink.write(bytes);
                    Ok(())
                };
                let never = CancellationToken::new();
                self.access.run(exec.clone(), GRACE, &never, said).await?;
            }
            None => self.access.backend.signal(&self.access.id, operation, TERM).await?,
        }
        Ok(())
    }

    fn say(&self, what: &str) {
        self.sink.write(format!("[windlass: service {}: {what}]\n", self.name).as_bytes());
    }
}
