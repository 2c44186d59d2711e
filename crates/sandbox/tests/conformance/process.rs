//! The backend `process` on a stage: a supervisor in a folder of its own.

use std::path::{Path, PathBuf};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use windlass_sandbox::{Backend, Base, Client, EnvironmentId};

use super::suite::{Stage, prefix, wait_for};

/// Names the tool that has the supervisor in it, where cargo did not.
pub const TOOL: &str = "WINDLASS_TEST_ENVIRONMENTS";

pub fn tool() -> PathBuf {
    std::env::var_os(TOOL)
        .map_or_else(|| env!("CARGO_BIN_EXE_windlass-environments").into(), PathBuf::from)
}

pub struct ProcessStage {
    pub client: Client,
    base: tempfile::TempDir,
    trees: PathBuf,
}

impl ProcessStage {
    pub fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let trees = base.path().join("trees");
        std::fs::create_dir(&trees).unwrap();
        let client = connect(&base.path().join("state"));
        Self { client, base, trees }
    }

    fn state_dir(&self) -> PathBuf {
        self.base.path().join("state")
    }
}

impl Drop for ProcessStage {
    fn drop(&mut self) {
        // The last case ends the first supervisor; its successor goes with the handle's grace otherwise.
        if let Ok(client) = Client::connect(&self.state_dir()) {
            let _ended = client.shutdown().block();
        }
    }
}

impl Stage for ProcessStage {
    fn backend(&self) -> &dyn Backend {
        &self.client
    }

    fn another(&self) -> Box<dyn Backend> {
        Box::new(Client::connect(&self.state_dir()).unwrap())
    }

    fn base(&self) -> Base {
        Base::Host
    }

    fn folder(&self) -> &Path {
        &self.trees
    }

    fn traces(&self) -> Vec<String> {
        let mut traces = groups(&prefix());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let base = self.base.path().to_str().unwrap();
        traces.extend(mounts.lines().filter(|line| line.contains(base)).map(str::to_owned));
        for folder in ["environments", "trash"] {
            let entries = std::fs::read_dir(self.state_dir().join(folder)).unwrap();
            traces.extend(entries.map(|entry| entry.unwrap().path().display().to_string()));
        }
        traces.sort();
        traces
    }

    fn crash(&self, owner: Box<dyn Backend>, _: &EnvironmentId) -> Option<Box<dyn Backend>> {
        let pids: Vec<u32> =
            wait_for(owner.list()).unwrap().iter().map(|listed| listed.pid).collect();
        let supervisor = self.client.supervisor_pid();
        let raw = Pid::from_raw(i32::try_from(supervisor).unwrap()).unwrap();
        kill_process(raw, Signal::KILL).unwrap();
        for pid in pids.into_iter().chain([supervisor]) {
            await_end(pid);
        }
        Some(Box::new(connect(&self.state_dir())))
    }
}

fn connect(state_dir: &Path) -> Client {
    let argv =
        [tool().into_os_string(), "serve".into(), state_dir.as_os_str().to_owned(), "120".into()];
    Client::spawn_or_connect(state_dir, &argv).unwrap()
}

/// Waits until a process of the host has ended; panics when it does not within a minute.
#[track_caller]
pub fn await_end(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let mut polled = [PollFd::new(&process, PollFlags::IN)];
    let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
    assert_eq!(poll(&mut polled, Some(&minute)), Ok(1), "process {pid:?} is still there");
}

/// Control groups of this process's environments.
pub fn groups(mark: &str) -> Vec<String> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let base = Path::new("/sys/fs/cgroup").join(controllers).join(path.trim_start_matches('/'));
        for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("windlass-") && name.contains(mark) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}
