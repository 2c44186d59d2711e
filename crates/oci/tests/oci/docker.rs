//! A Docker engine of this test's own: its data, its socket and its network are apart from any other.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use bollard::{
    Docker,
    query_parameters::{CreateImageOptionsBuilder, ListContainersOptionsBuilder},
};
use futures::StreamExt as _;

use super::suite::wait_for;

/// The image that the test makes without a registry: a shell and small programs, nothing else.
pub const IMAGE: &str = "windlass-test/base:1";
const NEEDS: &str = "apt-get install -y --no-install-recommends docker.io busybox-static";

/// A running engine. It ends with this value.
pub struct Engine {
    daemon: Child,
    folder: tempfile::TempDir,
}

impl Engine {
    /// Starts `dockerd` in a network namespace of its own. Answers what is missing when it can't be.
    pub fn start() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("needs root to start a Docker engine: run the tests as root".to_owned());
        }
        for program in ["/usr/sbin/dockerd", "/bin/busybox"] {
            if !Path::new(program).exists() {
                return Err(format!("needs {program}: {NEEDS}"));
            }
        }
        let folder = tempfile::Builder::new().prefix("wl").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).into_os_string();
        let mut host = std::ffi::OsString::from("unix://");
        host.push(at("docker.sock"));
        // The daemon is told to end when this thread does: whatever happens, it is not left behind.
        let mut daemon = Command::new("unshare")
            .args(["--net", "setpriv", "--pdeathsig", "TERM", "/usr/sbin/dockerd"])
            .args(["--bridge", "none", "--iptables=false", "--ip-forward=false"])
            .args(["--cgroup-parent", &group()])
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--host")
            .arg(host)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("could not start dockerd: {error}"))?;
        let log = BufReader::new(daemon.stderr.take().unwrap());
        let (say, hear) = mpsc::channel();
        thread::spawn(move || {
            let mut last = Vec::new();
            for line in log.lines().map_while(Result::ok) {
                if line.contains("API listen on") {
                    // Whoever waits may have given up.
                    let _said = say.send(Ok(()));
                }
                last.push(line);
                let surplus = last.len().saturating_sub(8);
                last.drain(..surplus);
            }
            let _said = say.send(Err(last.join("\n")));
        });
        let engine = Self { daemon, folder };
        match hear.recv_timeout(Duration::from_secs(90)) {
            Ok(Ok(())) => Ok(engine),
            Ok(Err(log)) => Err(format!("needs a dockerd that starts; it said: {log}")),
            Err(_) => Err("needs a dockerd that starts within 90 seconds".to_owned()),
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    pub fn api(&self) -> Docker {
        let version = bollard::ClientVersion { major_version: 1, minor_version: 41 };
        Docker::connect_with_unix(self.socket().to_str().unwrap(), 120, &version).unwrap()
    }

    /// Gives the engine an image that is made of one static program.
    pub fn import_image(&self) {
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo("windlass-test/base")
            .tag("1")
            .build();
        let api = self.api();
        let archive = bollard::body_full(root_file_system().into());
        let mut answers = api.create_image(Some(options), Some(archive), None);
        while let Some(answer) = wait_for(answers.next()) {
            answer.unwrap();
        }
    }

    /// The names of all containers.
    pub fn containers(&self) -> Vec<String> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let found = wait_for(self.api().list_containers(Some(options))).unwrap();
        found.into_iter().flat_map(|one| one.names.unwrap_or_default()).collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Asked politely, it ends its own containerd and takes its mounts down.
        let pid = rustix::process::Pid::from_child(&self.daemon);
        let _sent = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ended = self.daemon.wait();
        for folder in group_folders() {
            // What is not empty would be a leak, and is seen by whoever looks.
            let _removed = std::fs::remove_dir(folder);
        }
        let root = self.folder.path().to_str().unwrap();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
            if mount.starts_with(root) {
                let _unmounted = Command::new("umount").arg(mount).status();
            }
        }
    }
}

/// The control group that this engine's containers are below.
fn group() -> String {
    format!("/windlass-docker-{}", std::process::id())
}

/// The folders of that group, one in each hierarchy.
pub fn group_folders() -> Vec<PathBuf> {
    let name = group();
    let name = name.trim_start_matches('/');
    let bases = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let bases = bases.map(|entry| entry.path()).chain(["/sys/fs/cgroup".into()]);
    bases.map(|base| base.join(name)).filter(|folder| folder.is_dir()).collect()
}

fn root_file_system() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, content).unwrap();
    };
    for folder in ["bin", "etc", "tmp", "usr", "usr/bin", "root"] {
        add(folder, tar::EntryType::Directory, 0o755, b"");
    }
    add("etc/passwd", tar::EntryType::Regular, 0o644, b"root:x:0:0:root:/root:/bin/sh\n");
    add("bin/busybox", tar::EntryType::Regular, 0o755, &std::fs::read("/bin/busybox").unwrap());
    let listed = Command::new("/bin/busybox").arg("--list").output().unwrap();
    for name in String::from_utf8(listed.stdout).unwrap().lines().filter(|name| *name != "busybox")
    {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, format!("bin/{name}"), "busybox").unwrap();
    }
    archive.into_inner().unwrap()
}
