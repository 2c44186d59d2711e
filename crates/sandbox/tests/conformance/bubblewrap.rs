//! The suite on plain `bwrap`: no backend of ours, but a judge of the suite itself. What `bwrap` does must
//! pass; what it has no notion of (limits, doors, telling a signal from a code) is not tried, and said.
//!
//! Every operation is a `bwrap` of its own, over one home and one work tree. Nothing here is for anything
//! but tests.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Read,
    net::TcpStream,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    pin::Pin,
    process::{Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use windlass_sandbox::{
    Backend, Base, Capabilities, Created, Demand, Enforced, EnvironmentId, Error, Exec, Io,
    Isolation, Layer, Listed, OperationId, Pipes, Plan, Prepared, Report, Result, Size, Started,
    State, Status,
    backend::{Answer, Output, Tell},
    plan::{HOME, SYSTEM_PATH},
    spool::{Chunk, Stream},
};

use super::{process::await_end, suite::Stage};

/// The world of one test: environments by name, shared by all handles.
#[derive(Debug, Clone)]
pub struct Bubblewrap {
    shared: Arc<Shared>,
    homes: PathBuf,
}

#[derive(Debug, Default)]
struct Shared {
    environments: Mutex<BTreeMap<EnvironmentId, Environment>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Environment {
    plan: Plan,
    operations: BTreeMap<OperationId, Operation>,
}

#[derive(Debug)]
struct Operation {
    exec: Exec,
    status: Status,
    chunks: Vec<Chunk>,
    pid: u32,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<EnvironmentId, Environment>> {
        self.environments.lock().unwrap()
    }

    /// Waits until something can be said of an operation.
    fn when<T>(
        &self,
        id: &EnvironmentId,
        name: &OperationId,
        mut ask: impl FnMut(&mut Operation) -> Option<T>,
    ) -> Result<T> {
        let mut environments = self.lock();
        loop {
            let operation =
                environments.get_mut(id).and_then(|found| found.operations.get_mut(name));
            let Some(operation) = operation else {
                return Err(Error::NotFound { what: format!("operation {name}") });
            };
            if let Some(answer) = ask(operation) {
                return Ok(answer);
            }
            environments = self.changed.wait(environments).unwrap();
        }
    }

    fn change(&self, id: &EnvironmentId, name: &OperationId, how: impl FnOnce(&mut Operation)) {
        let mut environments = self.lock();
        if let Some(found) = environments.get_mut(id).and_then(|one| one.operations.get_mut(name)) {
            how(found);
        }
        self.changed.notify_all();
    }

    fn add(&self, id: &EnvironmentId, name: &OperationId, stream: Stream, mut bytes: Vec<u8>) {
        self.change(id, name, |operation| {
            let Io::Capture { limit_bytes } = operation.exec.io else { return };
            let kept: usize = operation.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
            let room = usize::try_from(limit_bytes).unwrap() - kept;
            operation.status.dropped_bytes += bytes.len().saturating_sub(room) as u64;
            bytes.truncate(room);
            if !bytes.is_empty() {
                operation.chunks.push(Chunk { stream, at_micros: 0, bytes });
                operation.status.spool_bytes = operation.chunks.len() as u64;
            }
        });
    }
}

impl Bubblewrap {
    fn command(&self, plan: &Plan, exec: &Exec) -> Command {
        let mut command = Command::new("bwrap");
        command.args(["--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000"]);
        command.args(["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]);
        command.args(["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"]);
        command.args(["--tmpfs", "/tmp", "--dir", "/etc"]);
        for name in ["bin", "sbin", "lib", "lib64"] {
            command.args(["--symlink", &format!("usr/{name}"), &format!("/{name}")]);
        }
        command.arg("--bind").arg(self.homes.join(plan.id.as_str())).arg(HOME);
        command.arg("--bind").arg(&plan.work_tree.host).arg(&plan.work_tree.inside);
        for bind in &plan.binds {
            command.arg("--ro-bind").arg(&bind.host).arg(&bind.inside);
        }
        command.args(["--remount-ro", "/", "--chdir"]).arg(&exec.cwd);
        // `bwrap` adds a variable of its own; `env` sees to it that there are none but these.
        command.args(["/usr/bin/env", "-i"]);
        let usual =
            [("HOME", HOME), ("USER", "agent"), ("LOGNAME", "agent"), ("PATH", SYSTEM_PATH)];
        for (name, value) in usual {
            if !exec.env.iter().any(|(known, _)| known == name) {
                command.arg(format!("{name}={value}"));
            }
        }
        for (name, value) in &exec.env {
            let mut text: OsString = name.clone();
            text.push("=");
            text.push(value);
            command.arg(text);
        }
        command.args(&exec.argv);
        command
    }

    fn start(&self, id: &EnvironmentId, exec: &Exec) -> Result<Started> {
        let mut environments = self.shared.lock();
        let environment = environments
            .get_mut(id)
            .ok_or_else(|| Error::NotFound { what: format!("environment {id}") })?;
        if let Some(known) = environment.operations.get(&exec.operation) {
            return if known.exec == *exec {
                Ok(Started { fresh: false, pipes: None, spool: None })
            } else {
                Err(Error::Conflict { why: "another program".to_owned() })
            };
        }
        let has_pipes = exec.io == Io::Pipes;
        let mut command = self.command(&environment.plan, exec);
        command.stdin(if has_pipes { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // It dies with the thread that started it, so that thread stays.
        let (say, hear) = std::sync::mpsc::channel();
        let (shared, id, name) = (Arc::clone(&self.shared), id.clone(), exec.operation.clone());
        thread::spawn(move || {
            let mut child = command.spawn().unwrap();
            let pid = child.id();
            let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            let mut readers = Vec::new();
            let pipes = match streams {
                (Some(stdin), Some(stdout), Some(stderr)) => Some(Pipes {
                    stdin: stdin.into(),
                    stdout: stdout.into(),
                    stderr: stderr.into(),
                }),
                (_, stdout, stderr) => {
                    readers.push(follow(&shared, &id, &name, Stream::Output, stdout.unwrap()));
                    readers.push(follow(&shared, &id, &name, Stream::Errors, stderr.unwrap()));
                    None
                }
            };
            say.send((pid, pipes)).unwrap();
            let status = child.wait().unwrap();
            for reader in readers {
                reader.join().unwrap();
            }
            shared.change(&id, &name, |operation| {
                let said = operation.chunks.last().map(|chunk| chunk.bytes.clone());
                let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
                operation.status.state = match (status.code(), status.signal()) {
                    _ if said.starts_with("bwrap: ") => State::NotStarted { why: said },
                    (Some(127), _) => State::NotStarted { why: said },
                    (Some(code), _) => State::Exited { code },
                    (None, signal) => State::Signalled {
                        signal: signal.unwrap_or_default(),
                        out_of_memory: false,
                    },
                };
            });
        });
        let (pid, pipes) = hear.recv().unwrap();
        let status = Status {
            state: State::Running,
            spool_bytes: 0,
            dropped_bytes: 0,
            out_of_processes: false,
        };
        let operation = Operation { exec: exec.clone(), status, chunks: Vec::new(), pid };
        environment.operations.insert(exec.operation.clone(), operation);
        Ok(Started { fresh: true, pipes, spool: None })
    }

    fn kill_all(pid: u32) {
        // One that has only just started would not take its child along yet: both are killed.
        send(pid, Signal::STOP);
        let all: Vec<u32> = below(pid).into_iter().chain([pid]).collect();
        for pid in &all {
            send(*pid, Signal::KILL);
        }
        for pid in all {
            await_end(pid);
        }
    }
}

/// Adds what a stream says, as it comes.
fn follow(
    shared: &Arc<Shared>,
    id: &EnvironmentId,
    name: &OperationId,
    stream: Stream,
    mut source: impl Read + Send + 'static,
) -> thread::JoinHandle<()> {
    let (shared, id, name) = (Arc::clone(shared), id.clone(), name.clone());
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = source.read(&mut buffer)
            && count > 0
        {
            shared.add(&id, &name, stream, buffer[..count].to_vec());
        }
    })
}

fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // It may have ended.
    let _sent = kill_process(pid, signal);
}

fn below(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut open = vec![pid];
    while let Some(parent) = open.pop() {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        let children = children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap());
        open.extend(children);
        if parent != pid {
            found.push(parent);
        }
    }
    found
}

/// Does something that blocks on a thread, so that the answer may be polled.
fn answer<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Answer<'static, T> {
    type Slot<T> = (Option<Result<T>>, Option<Waker>);
    struct Waiting<T>(Arc<Mutex<Slot<T>>>);
    impl<T> Future for Waiting<T> {
        type Output = Result<T>;

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
            let mut slot = self.0.lock().unwrap();
            slot.1 = Some(context.waker().clone());
            slot.0.take().map_or(Poll::Pending, Poll::Ready)
        }
    }
    let slot = Arc::new(Mutex::new((None, None::<Waker>)));
    let filled = Arc::clone(&slot);
    thread::spawn(move || {
        let result = work();
        let mut slot = filled.lock().unwrap();
        slot.0 = Some(result);
        if let Some(waker) = slot.1.take() {
            waker.wake();
        }
    });
    Box::pin(Waiting(slot))
}

impl Backend for Bubblewrap {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "bwrap",
            isolation: Isolation::SharedKernel,
            doors: false,
            host_base: true,
            images: false,
            companions: false,
        }
    }

    fn prepare<'a>(&'a self, _: &'a Base, _: Tell<'a>) -> Answer<'a, Prepared> {
        answer(|| Ok(Prepared::default()))
    }

    fn create<'a>(&'a self, plan: &'a Plan, _: &'a Prepared) -> Answer<'a, Created> {
        let (this, plan) = (self.clone(), plan.clone());
        answer(move || {
            let mut environments = this.shared.lock();
            match environments.get(&plan.id) {
                Some(known) if known.plan == plan => return Ok(created()),
                Some(_) => return Err(Error::Conflict { why: "another plan".to_owned() }),
                None => {}
            }
            std::fs::create_dir(this.homes.join(plan.id.as_str())).unwrap();
            let operations = BTreeMap::new();
            environments.insert(plan.id.clone(), Environment { plan, operations });
            Ok(created())
        })
    }

    fn adopt<'a>(&'a self, _: &'a EnvironmentId) -> Answer<'a, Created> {
        answer(|| Ok(created()))
    }

    fn exec<'a>(&'a self, id: &'a EnvironmentId, exec: &'a Exec) -> Answer<'a, Started> {
        let (this, id, exec) = (self.clone(), id.clone(), exec.clone());
        answer(move || this.start(&id, &exec))
    }

    fn wait<'a>(&'a self, id: &'a EnvironmentId, name: &'a OperationId) -> Answer<'a, Status> {
        let (this, id, name) = (self.clone(), id.clone(), name.clone());
        answer(move || {
            this.shared.when(&id, &name, |operation| {
                operation.status.state.has_ended().then(|| operation.status.clone())
            })
        })
    }

    fn output<'a>(
        &'a self,
        id: &'a EnvironmentId,
        name: &'a OperationId,
        after: u64,
    ) -> Answer<'a, Output> {
        let (this, id, name) = (self.clone(), id.clone(), name.clone());
        answer(move || {
            this.shared.when(&id, &name, |operation| {
                let status = operation.status.clone();
                let is_due = status.state.has_ended() || status.spool_bytes > after;
                let chunks = operation.chunks[usize::try_from(after).unwrap()..].to_vec();
                is_due.then_some(Output { next: status.spool_bytes, status, chunks })
            })
        })
    }

    fn status<'a>(&'a self, id: &'a EnvironmentId, name: &'a OperationId) -> Answer<'a, Status> {
        let (this, id, name) = (self.clone(), id.clone(), name.clone());
        answer(move || this.shared.when(&id, &name, |operation| Some(operation.status.clone())))
    }

    fn signal<'a>(
        &'a self,
        id: &'a EnvironmentId,
        name: &'a OperationId,
        signal: i32,
    ) -> Answer<'a, ()> {
        let (this, id, name) = (self.clone(), id.clone(), name.clone());
        answer(move || {
            let pid = this.shared.when(&id, &name, |operation| Some(operation.pid))?;
            for pid in below(pid) {
                let own = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                if own.trim() != "bwrap" {
                    send(pid, Signal::from_named_raw(signal).unwrap());
                }
            }
            Ok(())
        })
    }

    fn resize<'a>(&'a self, _: &'a EnvironmentId, _: &'a OperationId, _: Size) -> Answer<'a, ()> {
        answer(|| Err(Error::NotFound { what: "terminal: it makes none".to_owned() }))
    }

    fn dial<'a>(&'a self, _: &'a EnvironmentId, _: u16) -> Answer<'a, TcpStream> {
        answer(|| Err(Error::NotFound { what: "way in: it has none".to_owned() }))
    }

    fn kill<'a>(&'a self, id: &'a EnvironmentId, name: &'a OperationId) -> Answer<'a, ()> {
        let (this, id, name) = (self.clone(), id.clone(), name.clone());
        answer(move || {
            let pid = this.shared.when(&id, &name, |operation| Some(operation.pid))?;
            Self::kill_all(pid);
            this.shared.when(&id, &name, |one| one.status.state.has_ended().then_some(()))
        })
    }

    fn forget<'a>(&'a self, id: &'a EnvironmentId, name: &'a OperationId) -> Answer<'a, ()> {
        let (this, id, name) = (self.clone(), id.clone(), name.clone());
        answer(move || {
            let ended = this.shared.when(&id, &name, |one| Some(one.status.state.has_ended()))?;
            if !ended {
                return Err(Error::Conflict { why: "it runs".to_owned() });
            }
            this.shared.lock().get_mut(&id).unwrap().operations.remove(&name);
            Ok(())
        })
    }

    fn destroy<'a>(&'a self, id: &'a EnvironmentId) -> Answer<'a, ()> {
        let (this, id) = (self.clone(), id.clone());
        answer(move || {
            let Some(environment) = this.shared.lock().remove(&id) else { return Ok(()) };
            this.shared.changed.notify_all();
            for operation in environment.operations.into_values() {
                if !operation.status.state.has_ended() {
                    Self::kill_all(operation.pid);
                }
            }
            windlass_sandbox::remove_folder(&this.homes.join(id.as_str())).unwrap();
            Ok(())
        })
    }

    fn list(&self) -> Answer<'_, Vec<Listed>> {
        let this = self.clone();
        answer(move || {
            let environments = this.shared.lock();
            Ok(environments
                .iter()
                .map(|(id, environment)| Listed {
                    id: id.clone(),
                    ready: true,
                    report: Some(created().report),
                    operations: environment
                        .operations
                        .iter()
                        .map(|(name, one)| (name.clone(), one.status.clone()))
                        .collect(),
                    pid: std::process::id(),
                })
                .collect())
        })
    }

    fn sweep(&self) -> Answer<'_, usize> {
        answer(|| Ok(0))
    }
}

/// What `bwrap` is believed to enforce; the suite tries it.
fn created() -> Created {
    let row = |layer: Layer| {
        let in_force = !matches!(
            layer,
            Layer::Seccomp
                | Layer::MemoryLimit
                | Layer::CpuLimit
                | Layer::ProcessLimit
                | Layer::FileLimits
                | Layer::DiskLimit
        );
        let detail = "bwrap has no such thing".to_owned();
        Enforced { layer, demand: Demand::Wanted, in_force, detail, remedy: None }
    };
    let layers = Layer::ALL.into_iter().map(row).collect();
    let report =
        Report { layers, outside_uid: 0, outside_gid: 0, inside_uid: 1000, shared_files: 0 };
    Created { report, doors: Vec::new() }
}

pub struct BubblewrapStage {
    backend: Bubblewrap,
    base: tempfile::TempDir,
    trees: PathBuf,
}

impl BubblewrapStage {
    /// `None` where `bwrap` isn't installed or may not make namespaces.
    pub fn new() -> Option<Self> {
        let tried = Command::new("bwrap")
            .args(["--unshare-all", "--ro-bind", "/", "/", "/bin/true"])
            .stderr(Stdio::null())
            .status();
        if !tried.is_ok_and(|status| status.success()) {
            return None;
        }
        let base = tempfile::tempdir().unwrap();
        let (trees, homes) = (base.path().join("trees"), base.path().join("homes"));
        std::fs::create_dir(&trees).unwrap();
        std::fs::create_dir(&homes).unwrap();
        Some(Self { backend: Bubblewrap { shared: Arc::default(), homes }, base, trees })
    }
}

impl Stage for BubblewrapStage {
    fn backend(&self) -> &dyn Backend {
        &self.backend
    }

    fn another(&self) -> Box<dyn Backend> {
        Box::new(self.backend.clone())
    }

    fn base(&self) -> Base {
        Base::Host
    }

    fn folder(&self) -> &Path {
        &self.trees
    }

    fn traces(&self) -> Vec<String> {
        let homes = std::fs::read_dir(self.base.path().join("homes")).unwrap();
        let mut traces: Vec<String> =
            homes.map(|entry| entry.unwrap().path().display().to_string()).collect();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let base = self.base.path().to_str().unwrap();
        traces.extend(mounts.lines().filter(|line| line.contains(base)).map(str::to_owned));
        traces.sort();
        traces
    }

    fn crash(&self, _: Box<dyn Backend>, _: &EnvironmentId) -> Option<Box<dyn Backend>> {
        None
    }

    fn excused(&self) -> &[(&'static str, &'static str)] {
        &[
            ("every kind of end is told apart", "bwrap tells a signal as a code above 128"),
            ("a terminal has a size, keys and an end", "bwrap makes no terminals"),
            ("a program has no way to more rights", "bwrap's own first process can be read"),
        ]
    }
}
