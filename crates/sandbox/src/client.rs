//! The way in: a connection to the supervisor of this host.
//!
//! Every method answers with a [`Pending`], which is a `Future` of no particular runtime and can just as
//! well be waited for by a thread (`.block()`). One background thread reads; the supervisor itself has
//! none. Dropping the last clone of a client closes the connection, which kills operations with pipes.

use std::{
    collections::HashMap,
    ffi::OsString,
    future::Future,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    pin::Pin,
    process::{Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use crate::{
    canary::{Canary, Outcome},
    error::{Error, Result},
    frame::{self, Frame, Inbox},
    kernel,
    operation::{Exec, Size, Status},
    plan::{EnvironmentId, OperationId, Plan, Report},
    protocol::{Answered, Asked, Listed, Reply, Request, VERSION},
    supervisor::SOCKET,
};

/// A connection to the supervisor. Cheap to clone; all clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

/// An environment that is ready.
#[derive(Debug)]
pub struct Created {
    /// What is in force.
    pub report: Report,
    /// The listening sockets inside, in the plan's order.
    pub doors: Vec<DoorListener>,
}

/// A listening socket in an environment's own network, held outside.
///
/// Whoever connects to `127.0.0.1:port` inside is accepted here: the socket itself says which
/// environment it is.
#[derive(Debug)]
pub struct DoorListener {
    /// The door's name in the plan.
    pub name: String,
    /// The port inside.
    pub port: u16,
    /// The socket, in blocking mode.
    pub listener: TcpListener,
}

/// An operation that was started, now or by an earlier call with the same id.
#[derive(Debug)]
pub struct Started {
    /// False when the operation was known before; nothing was executed by this call then.
    pub fresh: bool,
    /// The pipe ends of a fresh operation with pipes.
    pub pipes: Option<Pipes>,
    /// The spool file of an operation whose output is captured (read it with [`crate::spool::Reader`]).
    pub spool: Option<PathBuf>,
}

/// Our ends of an operation's three pipes.
#[derive(Debug)]
pub struct Pipes {
    /// What the program reads.
    pub stdin: OwnedFd,
    /// What the program writes.
    pub stdout: OwnedFd,
    /// What the program writes as errors.
    pub stderr: OwnedFd,
}

/// An answer that is on its way.
#[derive(Debug)]
#[must_use = "nothing is known about a request until it is awaited or blocked on"]
pub struct Pending<T> {
    slot: Arc<Slot>,
    convert: fn(Reply, Vec<OwnedFd>) -> Result<T>,
}

impl Client {
    /// Connects to the supervisor that serves `state_dir`.
    ///
    /// # Errors
    /// [`Error::Disconnected`] when no supervisor listens there.
    pub fn connect(state_dir: &Path) -> Result<Self> {
        let path = state_dir.join(SOCKET);
        let socket = reach(state_dir).map_err(|error| Error::Disconnected {
            why: format!("no supervisor answers on {}: {error}", path.display()),
        })?;
        let reader = socket.try_clone().map_err(|error| Error::io("copy a socket", error))?;
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("environments".to_owned())
            .spawn(move || read_answers(&reader, &for_thread))
            .map_err(|error| Error::io("start the thread that reads answers", error))?;
        let supervisor_pid = kernel::peer(socket.as_fd())
            .map_err(|error| Error::io("look at the supervisor", error))?
            .pid;
        let inner = Inner {
            state_dir: state_dir.to_path_buf(),
            socket,
            supervisor_pid,
            sending: Mutex::new(()),
            shared,
        };
        let client = Self { inner: Arc::new(inner) };
        match client
            .ask(Request::Hello { version: VERSION }, Vec::new(), |reply, _| match reply {
                Reply::Hello { version, .. } => Ok(version),
                other => unexpected(&other),
            })
            .block()?
        {
            VERSION => Ok(client),
            other => Err(Error::Protocol {
                why: format!(
                    "the supervisor speaks version {other}, this program {VERSION}; stop the old windlass first"
                ),
            }),
        }
    }

    /// Connects, or starts a supervisor by `supervisor_argv` (whose program must call
    /// [`crate::supervisor::serve`] with the same folder) and connects to it. Of several callers at once
    /// one supervisor comes out.
    ///
    /// The program should be named by its absolute path. The supervisor is its own session, gets no
    /// variables, and outlives this process; what it has to say goes to
    /// `supervisor.log` in `state_dir`.
    ///
    /// # Errors
    /// [`Error::Io`] with the end of the log when it could not be started.
    pub fn spawn_or_connect(state_dir: &Path, supervisor_argv: &[OsString]) -> Result<Self> {
        if let Ok(client) = Self::connect(state_dir) {
            return Ok(client);
        }
        crate::supervisor::prepare_state_dir(state_dir)?;
        let log_path = state_dir.join("supervisor.log");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .map_err(|error| Error::io(format!("open {}", log_path.display()), error))?;
        let [program, arguments @ ..] = supervisor_argv else {
            return Err(Error::invalid("the supervisor's argument list is empty"));
        };
        let mut child = Command::new(program)
            .args(arguments)
            // It outlives this process and is copied into every environment's first one: what this
            // process was told in its variables is none of their business.
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| {
                Error::io(format!("start the supervisor {}", program.to_string_lossy()), error)
            })?;
        // The supervisor says `ready` once it listens, or once it has seen that another one does.
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output)
                .read_line(&mut line)
                .map_err(|error| Error::io("hear from the supervisor", error))?;
        }
        // Someone has to take note of its end, else it stays in the process table.
        let _reaper = thread::Builder::new().name("supervisor".to_owned()).spawn(move || {
            let _ended = child.wait();
        });
        if line.trim_end() != "ready" {
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            let end = log.lines().last().unwrap_or("it said nothing").to_owned();
            return Err(Error::io("start the supervisor", end));
        }
        Self::connect(state_dir)
    }

    /// The supervisor's process id.
    pub fn supervisor_pid(&self) -> u32 {
        self.inner.supervisor_pid
    }

    /// Builds an environment. Creating the same plan again answers with the environment that is there.
    pub fn create(&self, plan: &Plan) -> Pending<Created> {
        self.ask(Request::Create { plan: Box::new(plan.clone()) }, Vec::new(), to_created)
    }

    /// The report and, once more, the listening sockets of an environment: what a restarted caller needs.
    pub fn adopt(&self, id: &EnvironmentId) -> Pending<Created> {
        self.ask(Request::Adopt { id: id.clone() }, Vec::new(), to_created)
    }

    /// Executes a program, at most once per operation id. Answers when the program was handed over;
    /// whether it could be started is in its [`Status`].
    pub fn exec(&self, id: &EnvironmentId, exec: &Exec) -> Pending<Started> {
        let request = Request::Exec { id: id.clone(), exec: Box::new(exec.clone()) };
        self.ask(request, Vec::new(), to_started)
    }

    /// Waits until an operation has ended. Its status is kept until [`Client::forget`].
    pub fn wait(&self, id: &EnvironmentId, operation: &OperationId) -> Pending<Status> {
        let request = Request::Wait { id: id.clone(), operation: operation.clone() };
        self.ask(request, Vec::new(), to_status)
    }

    /// Waits until the spool file is longer than `after` bytes or the operation has ended, whichever is
    /// first: follow output without polling.
    pub fn output(
        &self,
        id: &EnvironmentId,
        operation: &OperationId,
        after: u64,
    ) -> Pending<Status> {
        let request = Request::Output { id: id.clone(), operation: operation.clone(), after };
        self.ask(request, Vec::new(), to_status)
    }

    /// How an operation stands now.
    pub fn status(&self, id: &EnvironmentId, operation: &OperationId) -> Pending<Status> {
        let request = Request::Status { id: id.clone(), operation: operation.clone() };
        self.ask(request, Vec::new(), to_status)
    }

    /// Where an operation's captured output is, seen from here.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it keeps none.
    pub fn spool_path(&self, id: &EnvironmentId, operation: &OperationId) -> Result<PathBuf> {
        let path = crate::supervisor::spool(&self.inner.state_dir, id, operation);
        if path.exists() {
            Ok(path)
        } else {
            Err(Error::NotFound { what: format!("captured output of operation {operation}") })
        }
    }

    /// The home folder of an environment, seen from here. It belongs to the environment's user; what
    /// programs inside wrote into it is not to be trusted.
    pub fn home(&self, id: &EnvironmentId) -> PathBuf {
        crate::supervisor::home(&self.inner.state_dir, id)
    }

    /// The folder of one of an environment's volumes, by its place in the plan, seen from here.
    pub fn volume(&self, id: &EnvironmentId, index: usize) -> PathBuf {
        crate::supervisor::volume(&self.inner.state_dir, id, index)
    }

    /// Sends a signal to the operation's process group: a polite way to ask it to end.
    pub fn signal(&self, id: &EnvironmentId, operation: &OperationId, signal: i32) -> Pending<()> {
        let request = Request::Signal { id: id.clone(), operation: operation.clone(), signal };
        self.ask(request, Vec::new(), to_done)
    }

    /// Changes the size of an operation's terminal; of one without, nothing.
    pub fn resize(&self, id: &EnvironmentId, operation: &OperationId, size: Size) -> Pending<()> {
        let request = Request::Resize { id: id.clone(), operation: operation.clone(), size };
        self.ask(request, Vec::new(), to_done)
    }

    /// A connection to a port of the environment's own loopback, made inside: first by IPv4, then by
    /// IPv6. Fails with [`Error::NotFound`] where nothing listens.
    pub fn dial(&self, id: &EnvironmentId, port: u16) -> Pending<TcpStream> {
        self.ask(Request::Connect { id: id.clone(), port }, Vec::new(), to_connected)
    }

    /// Kills an operation with everything it started, daemons included. Answers when nothing is left.
    pub fn kill(&self, id: &EnvironmentId, operation: &OperationId) -> Pending<()> {
        let request = Request::Kill { id: id.clone(), operation: operation.clone() };
        self.ask(request, Vec::new(), to_done)
    }

    /// Acknowledges that an operation's end was recorded: its status and spool file are removed.
    pub fn forget(&self, id: &EnvironmentId, operation: &OperationId) -> Pending<()> {
        let request = Request::Forget { id: id.clone(), operation: operation.clone() };
        self.ask(request, Vec::new(), to_done)
    }

    /// Destroys an environment: all processes, its home, its spool files. The work tree stays. Answers
    /// when nothing is left; destroying what is not there is fine.
    pub fn destroy(&self, id: &EnvironmentId) -> Pending<()> {
        self.ask(Request::Destroy { id: id.clone() }, Vec::new(), to_done)
    }

    /// All environments of this supervisor.
    pub fn list(&self) -> Pending<Vec<Listed>> {
        self.ask(Request::List, Vec::new(), |reply, _| match reply {
            Reply::List(list) => Ok(list),
            other => unexpected(&other),
        })
    }

    /// Tries an attack inside an environment, exactly as confined as a program would be.
    pub fn probe(&self, id: &EnvironmentId, canary: &Canary) -> Pending<Outcome> {
        let request = Request::Probe { id: id.clone(), canary: canary.clone() };
        self.ask(request, Vec::new(), |reply, _| match reply {
            Reply::Probed(outcome) => Ok(outcome),
            other => unexpected(&other),
        })
    }

    /// Destroys all environments and ends the supervisor.
    pub fn shutdown(&self) -> Pending<()> {
        self.ask(Request::Shutdown, Vec::new(), to_done)
    }

    fn ask<T>(
        &self,
        request: Request,
        descriptors: Vec<OwnedFd>,
        convert: fn(Reply, Vec<OwnedFd>) -> Result<T>,
    ) -> Pending<T> {
        let (number, slot) = self.inner.shared.open();
        let asked = Asked { number, request };
        let _turn = self.inner.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = frame::send(self.inner.socket.as_fd(), &asked, descriptors) {
            self.inner.shared.settle(number, Err(Error::Disconnected { why: error.to_string() }));
        }
        Pending { slot, convert }
    }
}

impl<T> Pending<T> {
    /// Waits on this thread.
    ///
    /// # Errors
    /// Whatever the supervisor answered, or [`Error::Disconnected`].
    pub fn block(self) -> Result<T> {
        let mut state = self.slot.lock();
        loop {
            if let Some((reply, descriptors)) = state.answer.take() {
                return reply.and_then(|reply| (self.convert)(reply, descriptors));
            }
            state = self.slot.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.slot.lock();
        match state.answer.take() {
            Some((reply, descriptors)) => {
                Poll::Ready(reply.and_then(|reply| (self.convert)(reply, descriptors)))
            }
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Connects to the socket of a state folder. Where the folder's path is too long for the address of a
/// socket, it is named by a descriptor.
fn reach(state_dir: &Path) -> std::io::Result<UnixStream> {
    /// What an address holds, with the zero at its end.
    const LONGEST: usize = 108;
    let path = state_dir.join(SOCKET);
    if path.as_os_str().len() < LONGEST {
        return UnixStream::connect(path);
    }
    let folder = std::fs::File::open(state_dir)?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&folder);
    UnixStream::connect(format!("/proc/self/fd/{number}/{SOCKET}"))
}

#[derive(Debug)]
struct Inner {
    state_dir: PathBuf,
    socket: UnixStream,
    supervisor_pid: u32,
    sending: Mutex<()>,
    shared: Arc<Shared>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The reading thread holds a copy of the socket; only a shutdown wakes it.
        let _gone = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

/// Open questions, shared with the reading thread.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    slots: HashMap<u64, Arc<Slot>>,
    gone: Option<String>,
}

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<SlotState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SlotState {
    answer: Option<(Result<Reply>, Vec<OwnedFd>)>,
    waker: Option<Waker>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, reply: Result<Reply>, descriptors: Vec<OwnedFd>) {
        let mut state = self.lock();
        state.answer = Some((reply, descriptors));
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        self.changed.notify_all();
    }
}

impl Shared {
    fn open(&self) -> (u64, Arc<Slot>) {
        let slot = Arc::new(Slot::default());
        let mut open = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        open.next += 1;
        let number = open.next;
        match &open.gone {
            Some(why) => slot.fill(Err(Error::Disconnected { why: why.clone() }), Vec::new()),
            None => {
                open.slots.insert(number, Arc::clone(&slot));
            }
        }
        (number, slot)
    }

    fn settle(&self, number: u64, reply: Result<Reply>) {
        self.settle_with(number, reply, Vec::new());
    }

    fn settle_with(&self, number: u64, reply: Result<Reply>, descriptors: Vec<OwnedFd>) {
        let slot = self.state.lock().unwrap_or_else(PoisonError::into_inner).slots.remove(&number);
        if let Some(slot) = slot {
            slot.fill(reply, descriptors);
        }
    }

    fn close(&self, why: &str) {
        let slots = {
            let mut open = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            open.gone = Some(why.to_owned());
            std::mem::take(&mut open.slots)
        };
        for slot in slots.into_values() {
            slot.fill(Err(Error::Disconnected { why: why.to_owned() }), Vec::new());
        }
    }
}

fn read_answers(socket: &UnixStream, shared: &Shared) {
    let mut inbox = Inbox::default();
    loop {
        let answered = frame::receive(socket.as_fd(), &mut inbox)
            .and_then(|frame: Option<Frame>| frame.map(|f| Ok((f.parse()?, f))).transpose());
        match answered {
            Ok(Some((Answered { number, reply }, frame))) => {
                shared.settle_with(number, reply, frame.descriptors);
            }
            Ok(None) => return shared.close("the supervisor ended"),
            Err(error) => return shared.close(&error.to_string()),
        }
    }
}

fn to_created(reply: Reply, descriptors: Vec<OwnedFd>) -> Result<Created> {
    match reply {
        Reply::Created { report, doors } if doors.len() == descriptors.len() => Ok(Created {
            report,
            doors: doors
                .into_iter()
                .zip(descriptors)
                .map(|((name, port), socket)| DoorListener { name, port, listener: socket.into() })
                .collect(),
        }),
        other => unexpected(&other),
    }
}

fn to_started(reply: Reply, descriptors: Vec<OwnedFd>) -> Result<Started> {
    match reply {
        Reply::Started { fresh, spool } => {
            let pipes = <[OwnedFd; 3]>::try_from(descriptors)
                .ok()
                .map(|[stdin, stdout, stderr]| Pipes { stdin, stdout, stderr });
            Ok(Started { fresh, pipes, spool })
        }
        other => unexpected(&other),
    }
}

fn to_status(reply: Reply, _: Vec<OwnedFd>) -> Result<Status> {
    match reply {
        Reply::Status(status) => Ok(status),
        other => unexpected(&other),
    }
}

fn to_connected(reply: Reply, descriptors: Vec<OwnedFd>) -> Result<TcpStream> {
    match (reply, <[OwnedFd; 1]>::try_from(descriptors)) {
        (Reply::Connected, Ok([socket])) => Ok(socket.into()),
        (other, _) => unexpected(&other),
    }
}

fn to_done(reply: Reply, _: Vec<OwnedFd>) -> Result<()> {
    match reply {
        Reply::Done => Ok(()),
        other => unexpected(&other),
    }
}

fn unexpected<T>(reply: &Reply) -> Result<T> {
    Err(Error::Protocol { why: format!("an answer of the wrong kind: {reply:?}") })
}
