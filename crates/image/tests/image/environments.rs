//! The suite that every backend must pass, on `process` with an image as the root: as root, and as an
//! ordinary user. And what only an image shows.

use std::{
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use windlass_image::{Store, WithImages};
use windlass_sandbox::{
    Backend, Base, Client, EnvironmentId, Exec, Image, OperationId, Plan, backend::Pull,
};
use windlass_testkit::docker;

use super::{
    skip, store,
    suite::{self, Stage, wait_for},
};

/// Names the supervisor where cargo can't be asked.
const TOOL: &str = "WINDLASS_TEST_ENVIRONMENTS";
const NAME: &str = "windlass-test/base:1";
/// An id that belongs to nobody on usual systems.
const ORDINARY: u32 = 64_125;

fn tool() -> PathBuf {
    std::env::var_os(TOOL).map_or_else(
        || windlass_testkit::program("windlass-sandbox", "windlass-environments").unwrap(),
        PathBuf::from,
    )
}

pub(super) struct ImageStage {
    pub(super) backend: WithImages,
    client: Client,
    store: Store,
    pub(super) base: tempfile::TempDir,
    pub(super) trees: PathBuf,
}

impl ImageStage {
    pub(super) fn new(root_file_system: &[u8]) -> Self {
        let base = tempfile::tempdir().unwrap();
        let trees = base.path().join("trees");
        std::fs::create_dir(&trees).unwrap();
        let store = store(base.path(), None);
        let archive = base.path().join("image.tar");
        std::fs::write(&archive, docker::saved(root_file_system, &["KIND=small"])).unwrap();
        store.load(&archive, Some(NAME)).unwrap();
        let client = connect(&base.path().join("state"));
        let backend = WithImages::new(client.clone(), store.clone());
        Self { backend, client, store, base, trees }
    }

    fn state_dir(&self) -> PathBuf {
        self.base.path().join("state")
    }
}

impl Drop for ImageStage {
    fn drop(&mut self) {
        if let Ok(client) = Client::connect(&self.state_dir()) {
            let _ended = client.shutdown().block();
        }
    }
}

fn connect(state_dir: &Path) -> Client {
    let argv =
        [tool().into_os_string(), "serve".into(), state_dir.as_os_str().to_owned(), "120".into()];
    Client::spawn_or_connect(state_dir, &argv).unwrap()
}

pub(super) fn image() -> Base {
    Base::Image(Image::Named { reference: NAME.to_owned(), pull: Pull::Never, login: None })
}

impl Stage for ImageStage {
    fn backend(&self) -> &dyn Backend {
        &self.backend
    }

    fn another(&self) -> Box<dyn Backend> {
        let client = Client::connect(&self.state_dir()).unwrap();
        Box::new(WithImages::new(client, self.store.clone()))
    }

    fn base(&self) -> Base {
        image()
    }

    fn folder(&self) -> &Path {
        &self.trees
    }

    fn traces(&self) -> Vec<String> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let base = self.base.path().to_str().unwrap();
        let mut traces: Vec<String> =
            mounts.lines().filter(|line| line.contains(base)).map(str::to_owned).collect();
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
            let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
            let mut polled = [PollFd::new(&process, PollFlags::IN)];
            assert_eq!(poll(&mut polled, Some(&minute)), Ok(1), "process {pid:?} is still there");
        }
        let client = connect(&self.state_dir());
        Some(Box::new(WithImages::new(client, self.store.clone())))
    }
}

#[test]
fn process_with_an_image_is_a_backend() {
    match docker::root_file_system() {
        Ok(archive) => suite::run(&ImageStage::new(&archive)),
        Err(why) => skip("process_with_an_image_is_a_backend", &why),
    }
}

#[test]
fn process_with_an_image_is_a_backend_for_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for_an_ordinary_user("environments::process_with_an_image_is_a_backend");
}

/// Runs one of these tests as somebody who is not root.
pub(super) fn for_an_ordinary_user(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let copies = [(std::env::current_exe().unwrap(), "tests"), (tool(), "tool")];
    for (from, name) in copies {
        std::fs::copy(from, folder.path().join(name)).unwrap();
    }
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    std::os::unix::fs::chown(&temporary, Some(ORDINARY), Some(ORDINARY)).unwrap();
    let output = Command::new(folder.path().join("tests"))
        .args([test, "--exact", "--nocapture"])
        .env(TOOL, folder.path().join("tool"))
        .env("TMPDIR", &temporary)
        .env("HOME", &temporary)
        .env_remove("WINDLASS_TEST_ALL")
        .current_dir(&temporary)
        .uid(ORDINARY)
        .gid(ORDINARY)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

#[test]
fn an_environment_sees_the_image_and_nothing_of_the_host_and_changes_neither() {
    let test = "an_environment_sees_the_image_and_nothing_of_the_host_and_changes_neither";
    let archive = match docker::root_file_system() {
        Ok(archive) => archive,
        Err(why) => return skip(test, &why),
    };
    let stage = ImageStage::new(&archive);
    let tree = stage.base.path().join("trees/tree");
    std::fs::create_dir_all(&tree).unwrap();
    let id = EnvironmentId::parse("look").unwrap();
    let mut plan = Plan::new(id.clone(), &tree, "/workspace/tree");
    plan.volumes = vec!["/usr/share/own".into(), "/data".into()];
    let prepared = wait_for(stage.backend.prepare(&image(), &mut |_| {})).unwrap();
    wait_for(stage.backend.create(&plan, &prepared)).unwrap();
    let script = "ls /; ls /usr; touch /bin/x 2>&1; touch /etc/x 2>&1; touch /usr/x 2>&1; \
                  echo kept > /usr/share/own/file && echo kept > /data/file && cat /data/file; \
                  grep -c . /etc/passwd; id -un; echo tree > file";
    let name = OperationId::parse("look").unwrap();
    let exec = Exec::capture(name.clone(), ["sh", "-c", script]).in_folder("/workspace/tree");
    let exec = exec.with_env("PATH", "/bin");
    wait_for(stage.backend.exec(&id, &exec)).unwrap();
    let status = wait_for(stage.backend.wait(&id, &name)).unwrap();
    let output = wait_for(stage.backend.output(&id, &name, 0)).unwrap();
    let bytes: Vec<u8> = output.chunks.into_iter().flat_map(|chunk| chunk.bytes).collect();
    let expected = "bin\ndata\ndev\netc\nhome\nproc\nroot\nrun\nsys\ntmp\nusr\nvar\nworkspace\nbin\nshare\n\
                    touch: /bin/x: Read-only file system\ntouch: /etc/x: Read-only file system\n\
                    touch: /usr/x: Read-only file system\nkept\n2\nagent\n";
    assert_eq!(String::from_utf8_lossy(&bytes), expected, "{status:?}");
    assert_eq!(std::fs::read_to_string(tree.join("file")).unwrap(), "tree\n");
    wait_for(stage.backend.destroy(&id)).unwrap();
    assert_eq!(stage.traces(), [""; 0]);
}
