//! The supervisor: the one small process of a host that owns all environments.
//!
//! Apart from the runner, so that a runner's crash costs no environment, and with one thread, because it
//! forks. It waits for events and never sleeps, blocks on a client, or runs anything of a project. When
//! it dies, the kernel kills every environment; what stays on disk is swept by the next one.
//!
//! Clients are processes of the same user. A client that stays away longer than the grace period loses
//! all environments.

mod environment;
mod operation;
mod requests;
mod state;

use std::{
    collections::{BTreeMap, HashMap},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::{
    environment::{Environment, Host, Stage},
    operation::{News, Operation},
    state::StateDir,
};
use crate::{
    canary::Outcome,
    contained::Contained,
    error::{Error, Result},
    frame::{Fill, Frame, Inbox, Outbox},
    kernel::{self, Forked},
    plan::{EnvironmentId, OperationId},
    protocol::{Answered, Asked, FromInit, Reply, ToKeeper},
    tree,
};

pub(crate) use self::state::{SOCKET, home, prepare_state_dir, spool, volume};
pub use self::state::{Swept, sweep};

/// How a supervisor behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The folder for its socket and its environments' homes and spools. Its owner only.
    pub state_dir: PathBuf,
    /// How long environments are kept when no client is connected.
    pub orphan_grace: Duration,
}

impl Options {
    /// Two minutes of grace.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: state_dir.into(), orphan_grace: Duration::from_secs(120) }
    }
}

/// Runs the supervisor until a client shuts it down, it gets SIGTERM, or nobody was connected for the
/// grace period. Must be called first thing in a process of its own that has one thread.
///
/// Writes `ready` and a line end to standard output once clients can connect (also when another
/// supervisor already serves the folder), then lets go of it.
///
/// # Errors
/// [`Error::Io`] when the state folder cannot be used, or this process has a second thread already.
pub fn serve(options: &Options) -> Result<()> {
    serve_as(options, None)
}

/// Runs the supervisor as the first process of a container, for the environment that the container is.
pub(crate) fn serve_contained(options: &Options, contained: Contained) -> Result<()> {
    serve_as(options, Some(contained))
}

fn serve_as(options: &Options, contained: Option<Contained>) -> Result<()> {
    refuse_threads()?;
    // A session of its own: the terminal and its signals are for the runner. A leader of a process group
    // is refused one; then ignoring the signals below has to do.
    let _session = rustix::process::setsid();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    kernel::ignore_signal(libc::SIGHUP);
    kernel::ignore_signal(libc::SIGINT);
    kernel::ignore_signal(libc::SIGPIPE);
    // Whoever comes second waits here until the first one listens, and has nothing to do then.
    let starting = state::await_turn(&options.state_dir)?;
    let Some(state) = StateDir::take_over(&options.state_dir)? else {
        return say_ready();
    };
    // No file system is kept busy by where this process happened to be started.
    rustix::process::chdir(c"/").map_err(|error| Error::io("enter /", error))?;
    let hierarchies = state.hierarchies();
    state.sweep(&hierarchies)?;
    let socket = state.socket();
    let named =
        |error: &dyn std::fmt::Display| Error::io(format!("listen on {}", socket.display()), error);
    match std::fs::remove_file(&socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(named(&error)),
        _ => {}
    }
    let listener = UnixListener::bind(&socket).map_err(|error| named(&error))?;
    listener.set_nonblocking(true).map_err(|error| named(&error))?;
    let signals = kernel::signal_descriptor(&[libc::SIGCHLD, libc::SIGTERM])
        .map_err(|error| Error::io("watch for signals", error))?;
    drop(starting);
    say_ready()?;
    let mut supervisor = Supervisor {
        host: Host::look(hierarchies, contained),
        state,
        listener,
        signals,
        grace: options.orphan_grace,
        next: 0,
        connections: BTreeMap::new(),
        environments: BTreeMap::new(),
        removals: HashMap::new(),
        probes: Vec::new(),
        lonely_since: Some(Instant::now()),
        stopping: None,
    };
    supervisor.run()
}

/// A copy of a process with threads may hold locks that nobody will ever release.
fn refuse_threads() -> Result<()> {
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count).unwrap_or(1);
    if threads == 1 {
        Ok(())
    } else {
        Err(Error::io(
            "start the supervisor",
            format!("this process has {threads} threads; call it before anything starts one"),
        ))
    }
}

fn say_ready() -> Result<()> {
    let failed = |error: rustix::io::Errno| Error::io("let go of standard output", error);
    // Whoever started this process may not listen; that is no reason to stop.
    let _written = rustix::io::write(rustix::stdio::stdout(), b"ready\n");
    let null = rustix::fs::open(c"/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())
        .map_err(failed)?;
    rustix::stdio::dup2_stdout(&null).map_err(failed)?;
    rustix::stdio::dup2_stdin(&null).map_err(failed)
}

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticket {
    connection: u64,
    number: u64,
}

#[derive(Debug)]
struct Connection {
    socket: UnixStream,
    inbox: Inbox,
    outbox: Outbox,
}

/// A canary's answer on its way.
#[derive(Debug)]
struct Probe {
    ticket: Ticket,
    kind: ProbeKind,
    socket: OwnedFd,
    inbox: Inbox,
}

/// What such a process was to do.
#[derive(Debug)]
enum ProbeKind {
    Canary,
    Connection { port: u16 },
}

#[derive(Debug)]
struct Supervisor {
    host: Host,
    state: StateDir,
    listener: UnixListener,
    signals: OwnedFd,
    grace: Duration,
    /// Numbers connections and trash.
    next: u64,
    connections: BTreeMap<u64, Connection>,
    environments: BTreeMap<EnvironmentId, Environment>,
    /// Processes that remove files, with the environment that they belong to.
    removals: HashMap<i32, EnvironmentId>,
    probes: Vec<Probe>,
    lonely_since: Option<Instant>,
    /// Set once it is to end: who waits for that.
    stopping: Option<Vec<Ticket>>,
}

/// Whose descriptor became ready.
#[derive(Debug, Clone)]
enum Source {
    Listener,
    Signals,
    Connection(u64),
    Environment(EnvironmentId),
    Operation(EnvironmentId, OperationId),
    Background(EnvironmentId, usize),
    Probe(usize),
}

impl Supervisor {
    fn run(&mut self) -> Result<()> {
        loop {
            let timeout = self.time_left();
            if timeout == Some(Duration::ZERO) {
                self.stop(None);
            }
            if self.has_stopped() {
                self.say_goodbye();
                return Ok(());
            }
            for source in self.wait(timeout)?.into_iter().rev() {
                self.attend(source);
            }
        }
    }

    /// How long it may still be alone; `None` while it is not.
    fn time_left(&self) -> Option<Duration> {
        if self.stopping.is_some() {
            return None;
        }
        self.lonely_since.map(|since| self.grace.saturating_sub(since.elapsed()))
    }

    /// Waits for descriptors. Probes and background operations come in ascending order and are attended
    /// to in descending order, so that removing one does not shift the others.
    fn wait(&self, timeout: Option<Duration>) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        let mut polled = Vec::new();
        self.watch(|source, descriptor, has_more| {
            let flags = if has_more { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            polled.push(PollFd::from_borrowed_fd(descriptor, flags));
            sources.push(source);
        });
        // Rounded up, so that the end of the grace period is never found a moment too early.
        let timeout = timeout.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("wait for events", error)),
        }
        let ready = polled.iter().map(|one| !one.revents().is_empty());
        Ok(sources
            .into_iter()
            .zip(ready)
            .filter(|(_, ready)| *ready)
            .map(|(source, _)| source)
            .collect())
    }

    fn watch<'a>(&'a self, mut each: impl FnMut(Source, BorrowedFd<'a>, bool)) {
        each(Source::Listener, self.listener.as_fd(), false);
        each(Source::Signals, self.signals.as_fd(), false);
        for (number, connection) in &self.connections {
            let has_more = !connection.outbox.is_empty();
            each(Source::Connection(*number), connection.socket.as_fd(), has_more);
        }
        for (id, environment) in &self.environments {
            if environment.pid > 0 && environment.stage != Stage::Dying {
                let has_more = !environment.outbox.is_empty();
                each(Source::Environment(id.clone()), environment.channel.as_fd(), has_more);
            }
            for (name, operation) in &environment.operations {
                if let Some(channel) = &operation.channel {
                    let source = Source::Operation(id.clone(), name.clone());
                    each(source, channel.as_fd(), !operation.outbox.is_empty());
                }
            }
            for (index, operation) in environment.background.iter().enumerate() {
                if let Some(channel) = &operation.channel {
                    let source = Source::Background(id.clone(), index);
                    each(source, channel.as_fd(), !operation.outbox.is_empty());
                }
            }
        }
        for (index, probe) in self.probes.iter().enumerate() {
            each(Source::Probe(index), probe.socket.as_fd(), false);
        }
    }

    fn attend(&mut self, source: Source) {
        match source {
            Source::Listener => self.greet(),
            Source::Signals => self.heed_signals(),
            Source::Connection(number) => self.serve_client(number),
            Source::Environment(id) => self.hear_environment(&id),
            Source::Operation(id, name) => self.hear_operation(&id, &name),
            Source::Background(id, index) => self.hear_background(&id, index),
            Source::Probe(index) => self.hear_probe(index),
        }
    }

    /// Takes new connections, of the same user and of root only.
    fn greet(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            let own = rustix::process::geteuid();
            let is_welcome = kernel::peer(socket.as_fd())
                .is_ok_and(|peer| peer.user_id == own.as_raw() || peer.user_id == 0);
            if is_welcome && socket.set_nonblocking(true).is_ok() {
                self.next += 1;
                let connection =
                    Connection { socket, inbox: Inbox::default(), outbox: Outbox::default() };
                self.connections.insert(self.next, connection);
                self.lonely_since = None;
            }
        }
    }

    fn heed_signals(&mut self) {
        let mut terminate = false;
        while let Some(signal) = kernel::next_signal(self.signals.as_fd()) {
            terminate |= signal == libc::SIGTERM;
        }
        while let Ok(Some((pid, how))) = kernel::reap_any(false) {
            self.note_end(pid, how);
        }
        if terminate {
            self.stop(None);
        }
    }

    fn note_end(&mut self, pid: i32, how: kernel::Ended) {
        if let Some(id) = self.removals.remove(&pid) {
            self.removed(&id, how);
            return;
        }
        let Some(id) = self
            .environments
            .iter()
            .find(|(_, environment)| environment.pid == pid)
            .map(|(id, _)| id.clone())
        else {
            return;
        };
        if self.host.contained.is_some() {
            // No process namespace ends with this one: what is left of it has come to us.
            kernel::kill_all_others();
        }
        // The last words may still be unread: why a build failed, for one.
        self.hear_environment(&id);
        let Some(environment) = self.environments.get_mut(&id) else { return };
        environment.emptied();
        let mut answers = Vec::new();
        for operation in environment.operations.values_mut() {
            collect(operation, &News { ended: true, gone: true, ..News::default() }, &mut answers);
        }
        let was_ready = environment.report.is_some();
        let is_wanted = !environment.destroying.is_empty() || self.stopping.is_some();
        if !was_ready && !is_wanted {
            environment.failure.get_or_insert_with(|| {
                Error::build("start the first process", "it ended without saying why")
            });
        }
        // What ended by itself is kept, so that its operations' ends can still be read.
        let is_kept = was_ready && !is_wanted && environment.failure.is_none();
        environment.stage = if is_kept { Stage::Dead } else { Stage::Removing };
        let is_over = environment.stage == Stage::Removing;
        self.answer_all(answers);
        if is_over {
            self.remove_files(&id);
        }
    }

    /// Removes an environment's files in a process of its own, since there may be many.
    fn remove_files(&mut self, id: &EnvironmentId) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        environment.stage = Stage::Removing;
        self.next += 1;
        let trash = self.state.trash_for(id, self.next);
        let folder = match std::fs::rename(&environment.folder, &trash) {
            Ok(()) => trash,
            Err(_) => environment.folder.clone(),
        };
        match kernel::fork() {
            Ok(Forked::Child) => {
                // Sockets and locks of the supervisor must not live on in here.
                let _closed = kernel::close_from(3);
                kernel::exit_now(i32::from(tree::remove(&folder).is_err()));
            }
            Ok(Forked::Parent(pid)) => {
                self.removals.insert(pid, id.clone());
            }
            Err(_) => {
                let how = kernel::Ended::Exited(i32::from(tree::remove(&folder).is_err()));
                self.removed(id, how);
            }
        }
    }

    fn removed(&mut self, id: &EnvironmentId, how: kernel::Ended) {
        // Its descriptors close before anyone hears that nothing is left.
        let Some(Environment { failure, creating, destroying, .. }) = self.environments.remove(id)
        else {
            return;
        };
        let failure = failure.unwrap_or_else(|| Error::NotFound {
            what: format!("environment {id} any more: it was destroyed while it was being built"),
        });
        let removal = match how {
            kernel::Ended::Exited(0) => Ok(Reply::Done),
            kernel::Ended::Exited(_) | kernel::Ended::Signalled(_) => Err(Error::io(
                format!("remove the files of environment {id}"),
                "some are left; the next start of the supervisor tries again",
            )),
        };
        let created = creating.into_iter().map(|ticket| (ticket, Err(failure.clone())));
        let destroyed = destroying.into_iter().map(|ticket| (ticket, removal.clone()));
        self.answer_all(created.chain(destroyed).collect());
    }

    fn serve_client(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let mut is_gone = connection.outbox.flush(connection.socket.as_fd()).is_err();
        match connection.inbox.fill(connection.socket.as_fd()) {
            Ok(Fill::Some | Fill::WouldBlock) => {}
            Ok(Fill::End) | Err(_) => is_gone = true,
        }
        let mut frames = Vec::new();
        loop {
            match connection.inbox.take() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => {
                    is_gone = true;
                    break;
                }
            }
        }
        for frame in frames {
            match frame.parse::<Asked>() {
                Ok(asked) => {
                    let ticket = Ticket { connection: number, number: asked.number };
                    self.take_request(ticket, asked.request);
                }
                // A client of another version: it hears that from the greeting, not from here.
                Err(_) => is_gone = true,
            }
        }
        if is_gone {
            self.part_with(number);
        }
    }

    /// Ends what lives only for a connection that is gone.
    fn part_with(&mut self, number: u64) {
        self.connections.remove(&number);
        for environment in self.environments.values_mut() {
            for operation in environment.operations.values_mut() {
                if operation.owner == Some(number) {
                    operation.order(&ToKeeper::Kill);
                }
            }
        }
        if self.connections.is_empty() {
            self.lonely_since = Some(Instant::now());
        }
    }

    fn hear_probe(&mut self, index: usize) {
        let Some(probe) = self.probes.get_mut(index) else { return };
        let ended = !matches!(probe.inbox.fill(probe.socket.as_fd()), Ok(Fill::Some));
        let frame = match probe.inbox.take() {
            Ok(Some(frame)) => Some(frame),
            _ if ended => None,
            _ => return,
        };
        let (result, descriptors) = match &probe.kind {
            ProbeKind::Canary => (Ok(Reply::Probed(tried(frame))), Vec::new()),
            ProbeKind::Connection { port } => connected(frame, *port),
        };
        let probe = self.probes.remove(index);
        self.answer(probe.ticket, result, descriptors);
    }

    fn hear_environment(&mut self, id: &EnvironmentId) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        environment.flush();
        for frame in environment.hear() {
            self.heed(id, frame);
        }
    }

    fn heed(&mut self, id: &EnvironmentId, frame: Frame) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        let result = match frame.parse() {
            Ok(FromInit::MapMe) => environment.map_ids(),
            Ok(FromInit::Failed(error)) => Err(error),
            Ok(FromInit::Ready { ports, proved, shared_files }) => {
                match environment.stage {
                    Stage::Building => {
                        environment.accept(&self.host, frame, ports, &proved, shared_files)
                    }
                    // It was killed in the meantime.
                    Stage::Ready | Stage::Dying | Stage::Dead | Stage::Removing => Ok(()),
                }
            }
            Err(error) => Err(Error::build("hear the first process", error)),
        };
        if let Err(error) = result {
            environment.fail(error);
            return;
        }
        if environment.stage == Stage::Ready {
            for ticket in std::mem::take(&mut environment.creating) {
                let Some(environment) = self.environments.get(id) else { return };
                match environment.describe() {
                    Ok((reply, sockets)) => self.answer(ticket, Ok(reply), sockets),
                    Err(error) => self.answer(ticket, Err(error), Vec::new()),
                }
            }
        }
    }

    fn hear_operation(&mut self, id: &EnvironmentId, name: &OperationId) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        let Some(operation) = environment.operations.get_mut(name) else { return };
        operation.flush();
        let news = operation.hear();
        if news.ended {
            use crate::operation::State;
            /// With this code a shell says that a program of its was killed.
            const KILLED: i32 = 128 + libc::SIGKILL;
            // Asked at each end, so that none is told of an earlier one's.
            operation.status.out_of_processes = environment.group.ran_out_of_processes();
            let state = &mut operation.status.state;
            match state {
                State::Signalled { signal: libc::SIGKILL, out_of_memory } => {
                    *out_of_memory = environment.group.ran_out_of_memory();
                }
                State::Exited { code: KILLED } if environment.group.ran_out_of_memory() => {
                    *state = State::Signalled { signal: libc::SIGKILL, out_of_memory: true };
                }
                _ => {}
            }
        }
        let mut answers = Vec::new();
        collect(operation, &news, &mut answers);
        if news.stuck {
            environment.kill();
        }
        self.answer_all(answers);
    }

    fn hear_background(&mut self, id: &EnvironmentId, index: usize) {
        let Some(environment) = self.environments.get_mut(id) else { return };
        let Some(operation) = environment.background.get_mut(index) else { return };
        operation.flush();
        let news = operation.hear();
        if news.stuck {
            environment.kill();
        } else if news.gone {
            environment.background.remove(index);
        }
    }

    /// Begins to end: no environment survives its supervisor.
    fn stop(&mut self, ticket: Option<Ticket>) {
        if self.stopping.is_none() {
            // New clients shall start the next supervisor instead of meeting the end of this one.
            let _removed = std::fs::remove_file(self.state.socket());
        }
        self.stopping.get_or_insert_default().extend(ticket);
        let dead: Vec<EnvironmentId> = self
            .environments
            .iter_mut()
            .filter_map(|(id, environment)| {
                environment.kill();
                (environment.stage == Stage::Dead).then(|| id.clone())
            })
            .collect();
        for id in dead {
            self.remove_files(&id);
        }
    }

    fn has_stopped(&self) -> bool {
        self.stopping.is_some() && self.environments.is_empty() && self.removals.is_empty()
    }

    fn say_goodbye(&mut self) {
        for ticket in self.stopping.take().unwrap_or_default() {
            self.answer(ticket, Ok(Reply::Done), Vec::new());
        }
    }

    fn answer_all(&mut self, answers: Vec<(Ticket, Result<Reply>)>) {
        for (ticket, reply) in answers {
            self.answer(ticket, reply, Vec::new());
        }
    }

    fn answer(&mut self, ticket: Ticket, reply: Result<Reply>, descriptors: Vec<OwnedFd>) {
        // Whoever asked may have gone; descriptors meant for it close here.
        let Some(connection) = self.connections.get_mut(&ticket.connection) else { return };
        connection.outbox.push(&Answered { number: ticket.number, reply }, descriptors);
        // A broken connection is noticed and dropped when it is polled.
        let _sent = connection.outbox.flush(connection.socket.as_fd());
    }
}

/// The answers that an operation's news make due.
fn collect(operation: &mut Operation, news: &News, answers: &mut Vec<(Ticket, Result<Reply>)>) {
    let status = || Ok(Reply::Status(operation.status.clone()));
    if operation.status.state.has_ended() {
        answers.extend(operation.waiting.drain(..).map(|ticket| (ticket, status())));
    }
    let ended = operation.status.state.has_ended();
    let due = operation
        .following
        .extract_if(.., |(_, after)| ended || operation.status.spool_bytes > *after);
    answers.extend(due.map(|(ticket, _)| (ticket, Ok(Reply::Status(operation.status.clone())))));
    if news.gone {
        answers.extend(operation.killing.drain(..).map(|ticket| (ticket, Ok(Reply::Done))));
    }
}

/// What an attack came to.
fn tried(frame: Option<Frame>) -> Outcome {
    frame.and_then(|frame| frame.parse().ok()).unwrap_or_else(|| Outcome {
        stopped: true,
        detail: "the kernel ended the process that tried".to_owned(),
    })
}

/// What a connection came to.
fn connected(frame: Option<Frame>, port: u16) -> (Result<Reply>, Vec<OwnedFd>) {
    let outcome: Option<std::result::Result<(), String>> =
        frame.as_ref().and_then(|frame| frame.parse().ok());
    let why = match (outcome, frame) {
        (Some(Ok(())), Some(frame)) => return (Ok(Reply::Connected), frame.descriptors),
        (Some(Err(why)), _) => why,
        _ => "the process that tried was ended".to_owned(),
    };
    (Err(Error::NotFound { what: format!("listener at port {port}: {why}") }), Vec::new())
}
