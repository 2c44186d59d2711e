//! Services of an environment: started, watched, started again as their policy says or somebody wishes, and
//! stopped in the opposite order. Each is an operation of the environment like any other, in its network
//! and with its rights.

pub(crate) mod board;
mod keeper;
pub(crate) mod log;
pub(crate) mod tasks;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use windlass_devcontainer::automation::Service;
use windlass_run::{Time, environment::Ended};
use windlass_sandbox::{Error, Exec, State};

use self::{keeper::Keeper, log::Log, tasks::Tasks};
use super::{
    command,
    environment::{Access, Broken, Environment, Execs, Ran, set_all},
    setup::{Lines, Tail},
};
use crate::{held::Writer, options::Clock};

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

/// How many ends of services are remembered for whoever tells of them.
const ENDS: usize = 32;

/// The services of one environment.
pub(crate) struct Services {
    running: Mutex<Vec<Running>>,
    companions: Mutex<Vec<Companion>>,
    sink: Sink,
    clock: Clock,
    ends: Arc<Mutex<VecDeque<Ended>>>,
    /// How its tasks ran.
    pub(crate) tasks: Tasks,
    /// Ends when the services are stopped.
    end: CancellationToken,
}

/// What watches a service that runs beside the environment, in a container of its own.
struct Companion {
    stop: DropGuard,
    kept: JoinHandle<()>,
}

/// One service: how it stands, and how that is changed.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) log: Arc<Log>,
    status: watch::Receiver<Status>,
    wishes: Arc<watch::Sender<Wanted>>,
    kept: Arc<Kept>,
}

/// What keeps a service, until the last one who knows of it is gone.
struct Kept {
    stop: Mutex<Option<DropGuard>>,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

/// What is wanted of a service, with a number that grows with each wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    runs: bool,
    number: u64,
}

/// How a service stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) stage: Stage,
    pub(crate) since: Time,
    /// How often it was started.
    pub(crate) starts: u32,
    /// How it ended last, by itself.
    pub(crate) last_end: Option<String>,
    /// The wish that this is about.
    number: u64,
}

/// Where a service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It was started and is not known to be ready.
    Starting,
    /// It is ready.
    Ready,
    /// It ended, and is started again.
    Waiting,
    /// It ended by itself and is not started again.
    Ended,
    /// It can't be run.
    Failed,
    /// Somebody stopped it.
    Stopped,
}

impl Stage {
    /// The word that the API uses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Waiting => "waiting",
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// What is known of a service while it is waited for.
pub(crate) struct Life {
    state: watch::Receiver<Option<String>>,
    status: watch::Sender<Status>,
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
    pub(crate) fn new(clock: &Clock) -> Self {
        Self {
            running: Mutex::default(),
            companions: Mutex::default(),
            sink: Sink::default(),
            clock: clock.clone(),
            ends: Arc::default(),
            tasks: Tasks::new(clock),
            end: CancellationToken::new(),
        }
    }

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
        execs: &Execs,
        access: &Access,
        name: &str,
        service: &Service,
    ) -> Result<Life, Error> {
        let exec = |label: &str, command: &str| -> Result<Exec, Error> {
            let mut exec = execs.exec(label, Environment::shell(command))?;
            set_all(&mut exec.env, &service.env);
            Ok(exec)
        };
        let stop_command = service.stop.as_deref().map(|stop| exec("service-stop", stop));
        let ready = service.ready.as_ref();
        let ready =
            ready.map(|ready| exec("service-ready", &ready.command).map(|e| (e, ready.timeout)));
        let (state, receiver) = watch::channel(None);
        let (tail, log) = (Tail::default(), Arc::<Log>::default());
        let stop = CancellationToken::new();
        let now = (self.clock)();
        let first =
            Status { stage: Stage::Starting, since: now, starts: 0, last_end: None, number: 0 };
        let status = watch::Sender::new(first);
        let wishes = watch::Sender::new(Wanted { runs: true, number: 0 });
        let keeper = Keeper {
            access: access.clone(),
            name: name.to_owned(),
            template: exec("service", &service.start)?,
            stop_command: stop_command.transpose()?,
            ready: ready.transpose()?,
            restart: service.restart,
            sink: self.sink.clone(),
            tail: tail.clone(),
            lines: Lines::new(Some(name.to_owned())),
            stop: stop.clone(),
            log: log.clone(),
            status: status.clone(),
            wishes: wishes.subscribe(),
            state,
            clock: self.clock.clone(),
            ends: self.ends.clone(),
        };
        let running = Running {
            name: name.to_owned(),
            log,
            status: status.subscribe(),
            wishes: Arc::new(wishes),
            kept: Arc::new(Kept {
                stop: Mutex::new(Some(stop.drop_guard())),
                task: tokio::sync::Mutex::new(Some(tokio::spawn(keeper.keep()))),
            }),
        };
        self.running().push(running);
        Ok(Life { state: receiver, status, tail })
    }

    /// Keeps what watches a service that runs beside the environment, in a container of its own.
    pub(super) fn keep(&self, stop: &CancellationToken, kept: JoinHandle<()>) {
        let companion = Companion { stop: stop.clone().drop_guard(), kept };
        self.companions().push(companion);
    }

    /// Where output of services goes.
    pub(super) fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Whether any was started that runs in the environment, as its user: what it is given, they could know.
    /// Those in containers of their own see neither its processes nor its files.
    pub(crate) fn is_any(&self) -> bool {
        !self.running().is_empty()
    }

    /// The one of this name, if it was started.
    pub(crate) fn find(&self, name: &str) -> Option<Running> {
        self.running().iter().find(|running| running.name == name).cloned()
    }

    /// How services ended by themselves lately, the oldest first: the first times in a row each, then ever
    /// more rarely.
    pub(crate) fn ends(&self) -> Vec<Ended> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Stops all, the last first, each with its grace.
    pub(crate) async fn stop(&self) {
        self.end.cancel();
        let running = std::mem::take(&mut *self.running());
        for service in running.into_iter().rev() {
            drop(service.kept.stop.lock().unwrap_or_else(PoisonError::into_inner).take());
            if let Some(task) = service.kept.task.lock().await.take() {
                let _ = task.await;
            }
        }
        let companions = std::mem::take(&mut *self.companions());
        for companion in companions.into_iter().rev() {
            drop(companion.stop);
            let _ = companion.kept.await;
        }
    }

    fn companions(&self) -> MutexGuard<'_, Vec<Companion>> {
        self.companions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// How it stands.
    pub(crate) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Has it started, if it does not run.
    pub(crate) fn start(&self) {
        self.wish(true, |wanted, status| {
            let is_over = matches!(status.stage, Stage::Ended | Stage::Failed | Stage::Waiting);
            !wanted.runs || is_over
        });
    }

    /// Has it started anew.
    pub(crate) fn restart(&self) {
        self.wish(true, |_, _| true);
    }

    /// Has it stopped.
    pub(crate) fn stop(&self) {
        self.wish(false, |wanted, _| wanted.runs);
    }

    fn wish(&self, runs: bool, is_news: impl FnOnce(Wanted, &Status) -> bool) {
        let status = self.status();
        self.wishes.send_if_modified(|wanted| {
            if !is_news(*wanted, &status) {
                return false;
            }
            *wanted = Wanted { runs, number: wanted.number + 1 };
            true
        });
    }

    /// Waits until the newest wish is come true, or can't any more. The status then; absent if the service
    /// is kept no more.
    pub(crate) async fn settled(&self) -> Option<Status> {
        let number = self.wishes.borrow().number;
        let mut status = self.status.clone();
        let settled = status
            .wait_for(|status| status.number >= number && !matches!(status.stage, Stage::Starting));
        settled.await.ok().map(|status| status.clone())
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
    let is_ready = |status: &mut Status| status.stage = Stage::Ready;
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
            Ran::Ended(State::Exited { code: 0 }) => {
                life.status.send_modify(is_ready);
                return Ok(());
            }
            Ran::Stopped => return Err(Unready::Stopped),
            ran @ (Ran::Ended(_) | Ran::TimedOut | Ran::Short(_)) => last = in_words(&ran, last),
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

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
