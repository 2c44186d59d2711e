//! A Docker engine of one test's own: its data, its socket, its network and its control group are apart
//! from any other. And an image of one static program, made without a registry.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

const NEEDS: &str = "apt-get install -y --no-install-recommends docker.io busybox-static";
const BUSYBOX: &str = "/bin/busybox";

/// A running engine. It ends with this value.
#[derive(Debug)]
pub struct Engine {
    daemon: Child,
    folder: tempfile::TempDir,
}

impl Engine {
    /// Starts `dockerd` in a network namespace of its own. Answers what is missing when it can't be.
    ///
    /// # Errors
    /// What it needs, as a sentence for whoever skips a test.
    pub fn start() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("needs root to start a Docker engine: run the tests as root".to_owned());
        }
        for program in ["/usr/sbin/dockerd", BUSYBOX] {
            if !Path::new(program).exists() {
                return Err(format!("needs {program}: {NEEDS}"));
            }
        }
        let folder = tempfile::Builder::new().prefix("wl").tempdir();
        let folder = folder.map_err(|error| format!("needs a temporary folder: {error}"))?;
        let at = |name: &str| folder.path().join(name).into_os_string();
        let mut host = OsString::from("unix://");
        host.push(at("docker.sock"));
        // The daemon is told to end when this thread does: whatever happens, it is not left behind.
        let mut daemon = Command::new("unshare")
            .args(["--net", "setpriv", "--pdeathsig", "TERM", "sh", "-c"])
            // Registries of tests listen on the loopback of this network.
            .args(["ip link set lo up 2>/dev/null; exec /usr/sbin/dockerd \"$@\"", "dockerd"])
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
        let log = daemon.stderr.take().ok_or("dockerd has no error output")?;
        let (say, hear) = mpsc::channel();
        thread::spawn(move || {
            let mut last = Vec::new();
            for line in BufReader::new(log).lines().map_while(Result::ok) {
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

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// Where its images and containers are.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A socket that listens on the loopback of this engine's network: for a registry that it can reach.
    ///
    /// # Panics
    /// When the kernel doesn't let this thread go there.
    pub fn listen(&self) -> std::net::TcpListener {
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        use std::os::fd::AsFd as _;
        let network = std::fs::File::open(format!("/proc/{}/ns/net", self.daemon.id()));
        let network = network.expect("the engine runs");
        // Only this thread goes there, and ends there.
        let listening = thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(network.as_fd(), kind).expect("root enters networks");
            std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free")
        });
        listening.join().expect("it ended well")
    }

    /// Runs the program `docker` against this engine; answers what it printed.
    ///
    /// # Errors
    /// What it said when it failed.
    pub fn docker(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
        let mut child = Command::new("docker")
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args(arguments)
            .env("DOCKER_CONFIG", self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("could not start docker: {error}"))?;
        let mut stdin = child.stdin.take().ok_or("docker has no input")?;
        let input = input.to_vec();
        let writer = thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let _written = writer.join();
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Gives it an image that is made of one static program, with further settings as in a Dockerfile.
    ///
    /// # Errors
    /// What the engine said.
    pub fn import(&self, name: &str, changes: &[&str]) -> Result<(), String> {
        let mut arguments = vec!["import"];
        for change in changes {
            arguments.extend(["--change", change]);
        }
        arguments.extend(["-", name]);
        self.docker(&arguments, &root_file_system()?).map(drop)
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
        let root = self.folder.path().display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
            if mount.starts_with(&root) {
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

/// An archive of a small system: a shell and small programs, nothing else.
///
/// # Errors
/// What it needs, as a sentence for whoever skips a test.
pub fn root_file_system() -> Result<Vec<u8>, String> {
    let busybox = std::fs::read(BUSYBOX).map_err(|_| format!("needs {BUSYBOX}: {NEEDS}"))?;
    let listed = Command::new(BUSYBOX).arg("--list").output().map_err(|error| error.to_string())?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    pack(&busybox, &listed).map_err(|error| error.to_string())
}

/// What `docker save` wrote for years, for an image of one layer: a list, a configuration, and the layer
/// under a name of its own.
pub fn saved(layer: &[u8], variables: &[&str]) -> Vec<u8> {
    let config = serde_json::json!({
        "rootfs": { "diff_ids": [crate::registry::digest(layer)] },
        "config": { "Env": variables },
    });
    let list = serde_json::json!([{ "Config": "config.json", "Layers": ["one/layer.tar"] }]);
    let mut archive = tar::Builder::new(Vec::new());
    let (config, list) = (config.to_string().into_bytes(), list.to_string().into_bytes());
    let parts =
        [("one/layer.tar", layer), ("config.json", &config), ("manifest.json", list.as_slice())];
    for (path, bytes) in parts {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        // Writing to memory does not fail.
        let _written = archive.append_data(&mut header, path, bytes);
    }
    archive.into_inner().unwrap_or_default()
}

fn pack(busybox: &[u8], listed: &str) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, content)
    };
    for folder in ["bin", "etc", "tmp", "usr", "usr/bin", "root"] {
        add(folder, tar::EntryType::Directory, 0o755, b"")?;
    }
    add("etc/passwd", tar::EntryType::Regular, 0o644, b"root:x:0:0:root:/root:/bin/sh\n")?;
    add("bin/busybox", tar::EntryType::Regular, 0o755, busybox)?;
    for name in listed.lines().filter(|name| *name != "busybox") {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        archive.append_link(&mut header, format!("bin/{name}"), "busybox")?;
    }
    archive.into_inner()
}
