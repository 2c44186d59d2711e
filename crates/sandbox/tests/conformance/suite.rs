//! What every backend must do, tried on any of them through its trait alone.
//!
//! A [`Stage`] brings the backend; the cases know nothing of which one it is. What a backend says it does
//! not enforce (in its report) is not tried, and that is said. Each case has an environment of its own
//! name and leaves nothing.

use std::{
    any::Any,
    ffi::OsString,
    fs::File,
    io::{Read, Write},
    os::unix::ffi::OsStringExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake},
    thread::{self, Thread},
};

use windlass_sandbox::{
    Backend, Base, Bind, Created, Door, EnvironmentId, Error, Exec, Io, Layer, OperationId, Plan,
    Size, Started, State, Status, spool::Stream,
};

/// A backend with what is needed to try it.
pub trait Stage {
    /// The backend.
    fn backend(&self) -> &dyn Backend;
    /// The same environments by another handle, as a caller has it after its restart.
    fn another(&self) -> Box<dyn Backend>;
    /// What environments are made from: something with a shell and the usual small programs.
    fn base(&self) -> Base;
    /// A folder for work trees.
    fn folder(&self) -> &Path;
    /// Everything on the host that belongs to the backend's environments, one line each.
    fn traces(&self) -> Vec<String>;
    /// Ends the owner of the environments without a goodbye (for some that is whoever holds the handle),
    /// waits until the environment has ended, and gives a backend that can sweep. `None` where nothing
    /// outlives a single call.
    fn crash(&self, owner: Box<dyn Backend>, id: &EnvironmentId) -> Option<Box<dyn Backend>>;
    /// Cases that are known not to hold, with the reason. A backend of ours has none.
    fn excused(&self) -> &[(&'static str, &'static str)] {
        &[]
    }
}

type Case = (&'static str, fn(&dyn Stage));

/// All cases, in the order in which a reader would ask.
const CASES: &[Case] = &[
    ("arguments, variables and folder arrive byte for byte", exact),
    ("every kind of end is told apart", ends),
    ("both streams are kept and what comes after the limit is counted", streams),
    ("output is followed while it is written", follow),
    ("the same operation never executes twice, also after a restart of the caller", once),
    ("many operations run at once", many),
    ("pipes carry a conversation", pipes),
    ("a terminal has a size, keys and an end", terminal),
    ("a signal is a polite way to end", signal),
    ("a killed operation takes its daemons along and leaves others alone", kill),
    ("a forgotten operation's name is free", forget),
    ("the same plan is the same environment and another one is a conflict", create_again),
    ("nothing answers on the network but the doors", network),
    ("the work tree is written and nothing else", files),
    ("a program has no way to more rights", rights),
    ("a fork bomb is bounded and ended", fork_bomb),
    ("running out of memory is told as such", memory),
    ("whoever waits hears of the end of the environment", waiting),
    ("a destroyed environment leaves nothing", nothing_left),
    ("what a crashed owner left is swept", crash),
];

/// Runs every case; panics with the names of those that failed.
pub fn run(stage: &dyn Stage) {
    let mut failed = Vec::new();
    for (name, case) in CASES {
        if let Some((_, why)) = stage.excused().iter().find(|(excused, _)| excused == name) {
            eprintln!("not tried: {name}: {why}");
            continue;
        }
        let before = stage.traces();
        let outcome = catch_unwind(AssertUnwindSafe(|| case(stage)));
        let left: Vec<String> =
            stage.traces().into_iter().filter(|trace| !before.contains(trace)).collect();
        match outcome {
            Ok(()) if left.is_empty() => eprintln!("ok: {name}"),
            Ok(()) => failed.push(format!("{name}: it left {left:?}")),
            Err(panic) => failed.push(format!("{name}: {}", text_of(&*panic))),
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

fn text_of(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

/// Waits for an answer on this thread.
pub fn wait_for<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => thread::park(),
        }
    }
}

/// An environment that is destroyed when the case is over, however it ends.
struct Place<'a> {
    stage: &'a dyn Stage,
    id: EnvironmentId,
    tree: PathBuf,
    created: Created,
}

const TREE: &str = "/workspace/tree";

impl<'a> Place<'a> {
    fn new(stage: &'a dyn Stage, name: &str) -> Self {
        Self::with(stage, name, |_| {})
    }

    fn with(stage: &'a dyn Stage, name: &str, change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = plan(stage, name);
        change(&mut plan);
        let created = create(stage, &plan).unwrap();
        Self { stage, id: plan.id, tree: plan.work_tree.host, created }
    }

    fn backend(&self) -> &'a dyn Backend {
        self.stage.backend()
    }

    fn has(&self, layer: Layer) -> bool {
        let row = self.created.report.layer(layer).unwrap();
        if !row.in_force {
            eprintln!("not tried: {layer} is not enforced here: {}", row.detail);
        }
        row.in_force
    }

    fn start(&self, exec: &Exec) -> Started {
        wait_for(self.backend().exec(&self.id, exec)).unwrap()
    }

    fn shell(&self, name: &str, script: &str) -> Ran {
        self.run(&shell(name, script))
    }

    fn run(&self, exec: &Exec) -> Ran {
        self.start(exec);
        let status = wait_for(self.backend().wait(&self.id, &exec.operation)).unwrap();
        read_all(self.backend(), &self.id, exec, status)
    }

    /// Waits until an operation has written something.
    fn await_output(&self, operation: &OperationId) {
        wait_for(self.backend().output(&self.id, operation, 0)).unwrap();
    }

    fn kill(&self, operation: &OperationId) -> Status {
        wait_for(self.backend().kill(&self.id, operation)).unwrap();
        wait_for(self.backend().status(&self.id, operation)).unwrap()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Err(error) = wait_for(self.backend().destroy(&self.id)) {
            eprintln!("failed to destroy {}: {error}", self.id);
        }
    }
}

struct Ran {
    status: Status,
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl Ran {
    #[track_caller]
    fn success(&self) -> String {
        let errors = String::from_utf8_lossy(&self.errors);
        assert!(self.status.state.is_success(), "{:?}: {errors}", self.status);
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

fn plan(stage: &dyn Stage, name: &str) -> Plan {
    let tree = stage.folder().join(format!("tree-of-{name}"));
    std::fs::create_dir_all(&tree).unwrap();
    Plan::new(EnvironmentId::parse(&format!("{}{name}", prefix())).unwrap(), tree, TREE)
}

/// What the name of every environment of this process starts with.
pub fn prefix() -> String {
    format!("c{}-", std::process::id())
}

fn create(stage: &dyn Stage, plan: &Plan) -> Result<Created, Error> {
    let base = stage.base();
    let prepared = wait_for(stage.backend().prepare(&base, &mut |_| {}))?;
    wait_for(stage.backend().create(plan, &prepared))
}

fn operation(name: &str) -> OperationId {
    OperationId::parse(name).unwrap()
}

fn shell(name: &str, script: &str) -> Exec {
    Exec::capture(operation(name), ["sh", "-c", script]).in_folder(TREE)
}

fn read_all(backend: &dyn Backend, id: &EnvironmentId, exec: &Exec, status: Status) -> Ran {
    let mut ran = Ran { status, output: Vec::new(), errors: Vec::new() };
    let mut after = 0;
    while ran.status.spool_bytes > after {
        let read = wait_for(backend.output(id, &exec.operation, after)).unwrap();
        for chunk in read.chunks {
            match chunk.stream {
                Stream::Output => ran.output.extend(chunk.bytes),
                Stream::Errors => ran.errors.extend(chunk.bytes),
            }
        }
        after = read.next;
    }
    ran
}

/// The processes of the host whose arguments hold a text.
fn processes_with(text: &str) -> Vec<u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| *pid != std::process::id())
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.windows(text.len()).any(|part| part == text.as_bytes()))
        })
        .collect()
}

/// A number of seconds to sleep that no other test uses: it marks processes.
fn mark(case: u32) -> String {
    format!("9{}{case:02}", std::process::id())
}

fn exact(stage: &dyn Stage) {
    let place = Place::new(stage, "exact");
    let odd = OsString::from_vec(b"\xff $(id) 'x' \"y\" \\ \n end".to_vec());
    let argv: Vec<OsString> =
        vec!["printf".into(), "%s|".into(), "a b".into(), "".into(), odd.clone()];
    let ran = place.run(&Exec::capture(operation("printf"), argv).in_folder(TREE));
    ran.success();
    assert_eq!(ran.output, b"a b||\xff $(id) 'x' \"y\" \\ \n end|");
    let exec = Exec::capture(operation("env"), ["env", "-0"])
        .with_env("ODD", odd)
        .with_env("PATH", "/usr/bin:/bin")
        .in_folder(TREE);
    let ran = place.run(&exec);
    let mut seen: Vec<&[u8]> =
        ran.output.split(|byte| *byte == 0).filter(|one| !one.is_empty()).collect();
    seen.sort_unstable();
    let expected: [&[u8]; 5] = [
        b"HOME=/home/agent",
        b"LOGNAME=agent",
        b"ODD=\xff $(id) 'x' \"y\" \\ \n end",
        b"PATH=/usr/bin:/bin",
        b"USER=agent",
    ];
    assert_eq!(seen, expected);
    let ran = place.run(&Exec::capture(operation("folder"), ["pwd"]).in_folder(TREE));
    assert_eq!(ran.success(), format!("{TREE}\n"));
    assert_eq!(place.shell("home", "echo kept > ~/file && cat ~/file").success(), "kept\n");
}

fn ends(stage: &dyn Stage) {
    let place = Place::new(stage, "ends");
    let state = |name: &str, script: &str| place.shell(name, script).status.state;
    assert_eq!(state("zero", "true"), State::Exited { code: 0 });
    assert_eq!(state("code", "exit 77"), State::Exited { code: 77 });
    assert_eq!(state("high", "exit 143"), State::Exited { code: 143 });
    let signalled = |signal| State::Signalled { signal, out_of_memory: false };
    assert_eq!(state("term", "kill -TERM $$"), signalled(15));
    assert_eq!(state("kill", "kill -KILL $$"), signalled(9));
    let not_started = |name: &str, program: &str, folder: &str| {
        let exec = Exec::capture(operation(name), [program]).in_folder(folder);
        match place.run(&exec).status.state {
            State::NotStarted { why } => why,
            other => panic!("{other:?}"),
        }
    };
    let why = not_started("unknown", "windlass-no-such-program", "/tmp");
    assert!(why.contains("windlass-no-such-program"), "{why}");
    let why = not_started("folder", "true", "/no/such/folder");
    assert!(why.contains("/no/such/folder"), "{why}");
}

fn streams(stage: &dyn Stage) {
    let place = Place::new(stage, "streams");
    let ran = place.shell("both", "echo out; echo err >&2; seq 1 20000; exit 1");
    let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(ran.status.state, State::Exited { code: 1 });
    assert_eq!(String::from_utf8_lossy(&ran.output), format!("out\n{expected}"));
    assert_eq!(ran.errors, b"err\n");
    let mut exec = shell("zeros", "head -c 3000000 /dev/zero; echo ended > mark");
    exec.io = Io::Capture { limit_bytes: 1 << 20 };
    let ran = place.run(&exec);
    assert_eq!(ran.status.state, State::Exited { code: 0 });
    assert_eq!(ran.output.len(), 1 << 20);
    assert_eq!(ran.status.dropped_bytes, 3_000_000 - (1 << 20));
    assert_eq!(std::fs::read_to_string(place.tree.join("mark")).unwrap(), "ended\n");
}

fn follow(stage: &dyn Stage) {
    let place = Place::new(stage, "follow");
    let exec = shell("talk", "echo first; while ! test -e go; do sleep 0.01; done; echo second");
    place.start(&exec);
    let first = wait_for(place.backend().output(&place.id, &exec.operation, 0)).unwrap();
    assert_eq!(first.status.state, State::Running);
    assert_eq!(first.chunks[0].bytes, b"first\n");
    std::fs::write(place.tree.join("go"), "").unwrap();
    let second = wait_for(place.backend().output(&place.id, &exec.operation, first.next)).unwrap();
    assert_eq!(second.chunks[0].bytes, b"second\n");
    wait_for(place.backend().wait(&place.id, &exec.operation)).unwrap();
}

fn once(stage: &dyn Stage) {
    let place = Place::new(stage, "once");
    let exec = shell("append", "echo x >> log; echo said; exit 3");
    assert!(place.start(&exec).fresh);
    let status = wait_for(place.backend().wait(&place.id, &exec.operation)).unwrap();
    assert!(!place.start(&exec).fresh);
    let other = stage.another();
    let adopted = wait_for(other.adopt(&place.id)).unwrap();
    assert_eq!(adopted.report, place.created.report);
    assert!(!wait_for(other.exec(&place.id, &exec)).unwrap().fresh);
    assert_eq!(wait_for(other.wait(&place.id, &exec.operation)).unwrap(), status);
    let ran = read_all(&*other, &place.id, &exec, status);
    assert_eq!(
        (ran.status.state, ran.output.as_slice()),
        (State::Exited { code: 3 }, &b"said\n"[..])
    );
    assert_eq!(std::fs::read_to_string(place.tree.join("log")).unwrap(), "x\n");
    let error = wait_for(place.backend().exec(&place.id, &shell("append", "true"))).unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
}

fn many(stage: &dyn Stage) {
    let place = Place::new(stage, "many");
    // Each waits for all the others, so one after the other would never end.
    let script = |number: u32| {
        format!(
            "touch here-{number}; while test $(ls here-* | wc -l) -lt 20; do sleep 0.02; done; echo {number}"
        )
    };
    let execs: Vec<Exec> = (0..20).map(|n| shell(&format!("op-{n}"), &script(n))).collect();
    for exec in &execs {
        assert!(place.start(exec).fresh);
    }
    for (number, exec) in execs.iter().enumerate() {
        let status = wait_for(place.backend().wait(&place.id, &exec.operation)).unwrap();
        let ran = read_all(place.backend(), &place.id, exec, status);
        assert_eq!(ran.success(), format!("{number}\n"));
    }
}

fn pipes(stage: &dyn Stage) {
    let place = Place::new(stage, "pipes");
    let exec = Exec::capture(operation("cat"), ["cat"]).in_folder(TREE).with_pipes();
    let pipes = place.start(&exec).pipes.unwrap();
    let (mut input, mut output) = (File::from(pipes.stdin), File::from(pipes.stdout));
    input.write_all(b"hello\n").unwrap();
    let mut said = [0; 6];
    output.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hello\n");
    drop(input);
    let status = wait_for(place.backend().wait(&place.id, &exec.operation)).unwrap();
    assert_eq!(status.state, State::Exited { code: 0 });
}

fn terminal(stage: &dyn Stage) {
    let place = Place::new(stage, "terminal");
    let script = "test -t 0 && test -t 2 && tty; stty size; trap 'stty size' WINCH; trap 'echo stopped' INT; \
                  trap 'echo hung up >> ended; exit 4' HUP; echo ready; while :; do read -r line; done";
    let exec = shell("terminal", script).in_folder(TREE).with_terminal(90, 30);
    let pipes = place.start(&exec).pipes.unwrap();
    let (mut keys, mut screen) = (File::from(pipes.stdin), File::from(pipes.stdout));
    let mut until = |end: &str| {
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(end.as_bytes()) {
            screen.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        String::from_utf8(seen).unwrap()
    };
    assert_eq!(until("ready\r\n"), "/dev/pts/0\r\n30 90\r\nready\r\n");
    let size = Size { columns: 100, rows: 40 };
    wait_for(place.backend().resize(&place.id, &exec.operation, size)).unwrap();
    assert_eq!(until("100\r\n"), "40 100\r\n");
    keys.write_all(b"\x03").unwrap();
    assert_eq!(until("stopped\r\n"), "^Cstopped\r\n");
    drop(keys);
    let status = wait_for(place.backend().wait(&place.id, &exec.operation)).unwrap();
    assert_eq!(status.state, State::Exited { code: 4 });
    let exec = shell("short", "printf 'the end'").with_terminal(80, 24);
    let pipes = place.start(&exec).pipes.unwrap();
    let mut shown = String::new();
    File::from(pipes.stdout).read_to_string(&mut shown).unwrap();
    assert_eq!(shown, "the end");
}

fn signal(stage: &dyn Stage) {
    let place = Place::new(stage, "signal");
    let script = "trap 'echo asked; exit 5' TERM; echo ready; while :; do sleep 0.01; done";
    let exec = shell("trap", script);
    place.start(&exec);
    place.await_output(&exec.operation);
    wait_for(place.backend().signal(&place.id, &exec.operation, 15)).unwrap();
    let status = wait_for(place.backend().wait(&place.id, &exec.operation)).unwrap();
    let ran = read_all(place.backend(), &place.id, &exec, status);
    assert_eq!(
        (ran.status.state, ran.output.as_slice()),
        (State::Exited { code: 5 }, &b"ready\nasked\n"[..])
    );
}

fn kill(stage: &dyn Stage) {
    let place = Place::new(stage, "kill");
    let mark = mark(1);
    let script = format!(
        "setsid sh -c 'sleep {mark} & sleep {mark} & exit' & (setsid setsid sleep {mark} &) & echo up; sleep {mark}"
    );
    place.start(&shell("other", "sleep 1000"));
    place.start(&shell("daemons", &script));
    place.await_output(&operation("daemons"));
    let status = place.kill(&operation("daemons"));
    assert_eq!(processes_with(&mark), Vec::<u32>::new());
    assert_eq!(status.state, State::Signalled { signal: 9, out_of_memory: false });
    let other = wait_for(place.backend().status(&place.id, &operation("other"))).unwrap();
    assert_eq!(other.state, State::Running);
}

fn forget(stage: &dyn Stage) {
    let place = Place::new(stage, "forget");
    place.shell("name", "echo one").success();
    wait_for(place.backend().forget(&place.id, &operation("name"))).unwrap();
    let error = wait_for(place.backend().status(&place.id, &operation("name"))).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert_eq!(place.shell("name", "echo two").success(), "two\n");
    place.start(&shell("runs", "sleep 1000"));
    let error = wait_for(place.backend().forget(&place.id, &operation("runs"))).unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
}

fn create_again(stage: &dyn Stage) {
    let place = Place::new(stage, "again");
    place.shell("here", "echo here > ~/mark").success();
    let mut same = plan(stage, "again");
    create(stage, &same).unwrap();
    assert_eq!(place.shell("still", "cat ~/mark").success(), "here\n");
    same.host_name = "other".to_owned();
    let error = create(stage, &same).unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    let listed = wait_for(place.backend().list()).unwrap();
    let own = listed.iter().find(|listed| listed.id == place.id).unwrap();
    let operations: Vec<&str> = own.operations.iter().map(|(name, _)| name.as_str()).collect();
    assert!(own.ready && own.pid > 0);
    assert_eq!(operations, ["here", "still"]);
}

fn network(stage: &dyn Stage) {
    let doors = stage.backend().capabilities().doors;
    let place = Place::with(stage, "network", |plan| {
        if doors {
            plan.doors = vec![Door { name: "model".to_owned(), port: 0 }];
        }
    });
    assert!(place.has(Layer::Network));
    let seen = place.shell("interfaces", "cat /proc/net/dev").success();
    let names: Vec<&str> =
        seen.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect();
    assert_eq!(names, ["lo"]);
    assert_eq!(place.shell("routes", "tail -n +2 /proc/net/route").success(), "");
    let Some(door) = place.created.doors.first() else {
        assert!(!doors, "no door was handed out");
        return;
    };
    // The port listens inside; what connects there is accepted outside, by a socket that we hold.
    let port = format!("0100007F:{:04X}", door.port);
    let table = place.shell("listening", "cat /proc/net/tcp").success();
    assert!(table.contains(&port), "{port} is not in {table}");
    assert_eq!(door.listener.local_addr().unwrap().port(), door.port);
}

fn files(stage: &dyn Stage) {
    let shown = stage.folder().join("shown");
    std::fs::create_dir_all(&shown).unwrap();
    std::fs::write(shown.join("file"), "shown\n").unwrap();
    let place = Place::with(stage, "files", |plan| {
        std::fs::write(plan.work_tree.host.join("from-outside"), "outside\n").unwrap();
        let inside = PathBuf::from("/opt/shown");
        plan.binds = vec![Bind { host: shown.clone(), inside, optional: false }];
    });
    let said = place.shell("write", "cat from-outside; echo more >> from-outside; echo new > new");
    assert_eq!(said.success(), "outside\n");
    assert_eq!(
        std::fs::read_to_string(place.tree.join("from-outside")).unwrap(),
        "outside\nmore\n"
    );
    assert_eq!(std::fs::read_to_string(place.tree.join("new")).unwrap(), "new\n");
    assert_eq!(place.shell("read", "cat /opt/shown/file").success(), "shown\n");
    for folder in ["/", "/bin", "/usr", "/etc", "/opt/shown", "/proc/sys/kernel"] {
        let script = format!("echo x > {folder}/windlass-was-here");
        let ran = place.shell(&format!("try{}", folder.replace('/', "-")), &script);
        assert!(!ran.status.state.is_success(), "{folder} was written");
    }
    let ran = place.shell("scratch", "echo x > /tmp/x && echo x > /dev/shm/x && cat /tmp/x");
    assert_eq!(ran.success(), "x\n");
    // Nothing of the host that was not named: the folder beside the tree, for one.
    let ran = place.shell("host", &format!("ls {}", stage.folder().display()));
    assert!(!ran.status.state.is_success(), "{:?}", String::from_utf8_lossy(&ran.output));
}

fn rights(stage: &dyn Stage) {
    let place = Place::new(stage, "rights");
    let status = place.shell("status", "cat /proc/self/status").success();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}")).trim().to_owned()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_ne!(field("Uid:").split_whitespace().next(), Some("0"));
    if place.has(Layer::Seccomp) {
        assert_eq!(field("Seccomp:"), "2");
    }
    // Neither the first process nor what it keeps can be reached.
    for path in ["/proc/1/environ", "/proc/1/root/", "/proc/1/fd/"] {
        let name = format!("reach{}", path.replace('/', "-").trim_end_matches('-'));
        let ran = place.shell(&name, &format!("ls {path} && cat {path}"));
        assert!(!ran.status.state.is_success(), "{path} was reached");
    }
    let ran = place.shell("murder", "kill -9 1; echo lives");
    assert_eq!(ran.success(), "lives\n");
}

fn fork_bomb(stage: &dyn Stage) {
    let place = Place::with(stage, "bomb", |plan| plan.limits.processes = Some(100));
    if !place.has(Layer::ProcessLimit) {
        return;
    }
    let mark = mark(2);
    let script = format!("f() {{ f | f & }}; echo up; : {mark}; while :; do f 2>/dev/null; done");
    place.start(&shell("bomb", &script));
    place.await_output(&operation("bomb"));
    let running = processes_with(&mark).len();
    assert!(running <= 100, "{running} processes run");
    let status = place.kill(&operation("bomb"));
    assert!(status.state.has_ended(), "{status:?}");
    assert_eq!(processes_with(&mark), Vec::<u32>::new());
}

fn memory(stage: &dyn Stage) {
    let place = Place::with(stage, "memory", |plan| plan.limits.memory_bytes = Some(96 << 20));
    if !place.has(Layer::MemoryLimit) {
        return;
    }
    let exec = Exec::capture(
        operation("eat"),
        ["dd", "if=/dev/zero", "of=/dev/null", "bs=300M", "count=1"],
    );
    let ran = place.run(&exec.in_folder(TREE));
    assert_eq!(ran.status.state, State::Signalled { signal: 9, out_of_memory: true });
    assert_eq!(place.shell("after", "echo lives").success(), "lives\n");
}

fn waiting(stage: &dyn Stage) {
    let place = Place::new(stage, "waited");
    place.start(&shell("long", "sleep 1000"));
    let name = operation("long");
    let mut wait = place.backend().wait(&place.id, &name);
    // Asked before the end: polled once, so that the question is on its way.
    let waker = std::task::Waker::noop();
    assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    wait_for(place.backend().destroy(&place.id)).unwrap();
    match wait_for(wait) {
        Ok(status) => assert!(matches!(status.state, State::Lost { .. }), "{status:?}"),
        Err(error) => assert!(matches!(error, Error::NotFound { .. }), "{error}"),
    }
    let error = wait_for(place.backend().status(&place.id, &name)).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

fn nothing_left(stage: &dyn Stage) {
    let before = stage.traces();
    let place = Place::new(stage, "gone");
    let mark = mark(3);
    let script = format!(
        "mkdir -p ~/a/b && touch ~/a/b/c && chmod 0 ~/a/b; setsid sleep {mark} & (setsid sleep {mark} &); echo kept > kept; echo up; sleep {mark}"
    );
    place.start(&shell("daemons", &script));
    place.await_output(&operation("daemons"));
    assert_ne!(stage.traces(), before, "nothing can be seen of a running environment");
    wait_for(place.backend().destroy(&place.id)).unwrap();
    assert_eq!(processes_with(&mark), Vec::<u32>::new());
    assert_eq!(stage.traces(), before);
    assert_eq!(std::fs::read_to_string(place.tree.join("kept")).unwrap(), "kept\n");
    wait_for(place.backend().destroy(&place.id)).unwrap();
}

fn crash(stage: &dyn Stage) {
    let before = stage.traces();
    // The owner goes, and with it the way to destroy: no `Place`.
    let plan = plan(stage, "crashed");
    let owner = stage.another();
    let prepared = wait_for(owner.prepare(&stage.base(), &mut |_| {})).unwrap();
    wait_for(owner.create(&plan, &prepared)).unwrap();
    let mark = mark(4);
    let exec = shell("long", &format!("setsid sleep {mark} & echo up; sleep {mark}"));
    wait_for(owner.exec(&plan.id, &exec)).unwrap();
    wait_for(owner.output(&plan.id, &exec.operation, 0)).unwrap();
    let Some(next) = stage.crash(owner, &plan.id) else {
        eprintln!("not tried: nothing of this backend outlives its owner");
        return wait_for(stage.backend().destroy(&plan.id)).unwrap();
    };
    assert_eq!(processes_with(&mark), Vec::<u32>::new());
    wait_for(next.sweep()).unwrap();
    assert_eq!(wait_for(next.list()).unwrap(), vec![]);
    assert_eq!(stage.traces(), before);
    assert_eq!(wait_for(next.sweep()).unwrap(), 0);
}
