//! A supervisor in a folder of its own, and short ways to ask it for things.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use windlass_sandbox::{
    Client, Created, EnvironmentId, Exec, OperationId, Plan, Started, Status,
    spool::{Reader, Stream},
};

/// Names the tool that has the supervisor in it, where cargo did not.
pub(crate) const TOOL: &str = "WINDLASS_TEST_ENVIRONMENTS";

pub(crate) fn tool() -> PathBuf {
    std::env::var_os(TOOL)
        .map_or_else(|| env!("CARGO_BIN_EXE_windlass-environments").into(), PathBuf::from)
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn id(text: &str) -> EnvironmentId {
    EnvironmentId::parse(text).unwrap()
}

pub(crate) fn operation(text: &str) -> OperationId {
    OperationId::parse(text).unwrap()
}

/// A supervisor with a client, and a work tree that environments may have.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) base: tempfile::TempDir,
    pub(crate) tree: PathBuf,
}

/// What an operation came to.
pub(crate) struct Ran {
    pub(crate) status: Status,
    pub(crate) output: Vec<u8>,
    pub(crate) errors: Vec<u8>,
}

impl Ran {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// The output of a program that must have succeeded.
    #[track_caller]
    pub(crate) fn expect_success(self) -> String {
        let errors = String::from_utf8_lossy(&self.errors);
        assert!(self.status.state.is_success(), "{:?}: {errors}", self.status);
        self.text()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let tree = base.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        let client = connect(&base.path().join("state"), 120.0);
        Self { client, base, tree }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.base.path().join("state")
    }

    /// A second client of the same supervisor.
    pub(crate) fn another_client(&self) -> Client {
        Client::connect(&self.state_dir()).unwrap()
    }

    pub(crate) fn plan(&self, name: &str) -> Plan {
        Plan::new(id(name), &self.tree, "/workspace/tree")
    }

    /// A plan with a work tree of its own, for tests with several environments.
    pub(crate) fn plan_apart(&self, name: &str) -> Plan {
        let tree = self.base.path().join(format!("tree-of-{name}"));
        std::fs::create_dir_all(&tree).unwrap();
        Plan::new(id(name), tree, "/workspace/tree")
    }

    /// An environment with the default plan.
    pub(crate) fn environment(&self, name: &str) -> Created {
        self.client.create(&self.plan(name)).block().unwrap()
    }

    pub(crate) fn start(&self, environment: &str, exec: &Exec) -> Started {
        self.client.exec(&id(environment), exec).block().unwrap()
    }

    /// Executes a program in the work tree and waits for its end.
    pub(crate) fn run<A: Into<OsString>>(
        &self,
        environment: &str,
        name: &str,
        argv: impl IntoIterator<Item = A>,
    ) -> Ran {
        self.run_exec(
            environment,
            &Exec::capture(operation(name), argv).in_folder("/workspace/tree"),
        )
    }

    pub(crate) fn run_exec(&self, environment: &str, exec: &Exec) -> Ran {
        let started = self.start(environment, exec);
        let status = self.client.wait(&id(environment), &exec.operation).block().unwrap();
        let (output, errors) = read_spool(&started.spool.unwrap());
        Ran { status, output, errors }
    }

    pub(crate) fn shell(&self, environment: &str, name: &str, script: &str) -> Ran {
        self.run(environment, name, ["sh", "-c", script])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A test that killed its supervisor has nothing to shut down.
        let _ended = self.client.shutdown().block();
    }
}

/// Connects to the supervisor of a folder, starting one if need be.
pub(crate) fn connect(state_dir: &Path, grace: f64) -> Client {
    let argv = [
        tool().into_os_string(),
        "serve".into(),
        state_dir.as_os_str().to_owned(),
        grace.to_string().into(),
    ];
    Client::spawn_or_connect(state_dir, &argv).unwrap()
}

/// Everything in a spool file, by stream.
pub(crate) fn read_spool(path: &Path) -> (Vec<u8>, Vec<u8>) {
    let mut reader = Reader::open(path, 0).unwrap();
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    while let Some(chunk) = reader.next_chunk().unwrap() {
        match chunk.stream {
            Stream::Output => output.extend(chunk.bytes),
            Stream::Errors => errors.extend(chunk.bytes),
        }
    }
    (output, errors)
}

/// Waits until a process of the host has ended; panics when it does not within a minute.
#[track_caller]
pub(crate) fn await_end(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let mut polled = [PollFd::new(&process, PollFlags::IN)];
    let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
    assert_eq!(poll(&mut polled, Some(&minute)), Ok(1), "process {pid:?} is still there");
}

/// The processes of the host whose arguments hold a text.
pub(crate) fn processes_with(text: &str) -> Vec<u32> {
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

/// Says loudly that a test could not be run; fails instead where everything must be.
pub(crate) fn skip(test: &str, needs: &str) {
    assert!(std::env::var_os("WINDLASS_TEST_ALL").is_none(), "{test} needs {needs}");
    eprintln!("SKIPPED {test}: needs {needs}");
}
