//! A PostgreSQL cluster of a test process's own: in a temporary directory, reached over a unix socket
//! only, run by an unprivileged user where the test runs as root. It ends with the test process,
//! however that ends.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Where Debian keeps the server's programs, which are not on the path there.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The superuser of the cluster.
const USER: &str = "windlass";

/// Users that may own the cluster when the test runs as root.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Waits for the pipe from the test process to close, then stops the server and cleans up.
const GUARD: &str = r#"
"$@" >"$DIRECTORY/log" 2>&1 &
server=$!
read -r _
kill -INT "$server"
wait "$server"
rm -rf "$DIRECTORY"
"#;

/// A running cluster.
pub struct Cluster {
    directory: PathBuf,
    programs: PathBuf,
    databases: AtomicU32,
    guard: Child,
    pipe: Option<ChildStdin>,
}

impl Cluster {
    /// Starts a cluster. `settings` are given to the server, as `name=value`.
    ///
    /// # Errors
    /// Why there is none, and how to have one.
    pub fn start(settings: &[&str]) -> Result<Self, String> {
        let programs = programs().ok_or("needs PostgreSQL: apt-get install postgresql")?;
        let owner = owner()?;
        let directory = directory(owner.as_deref())?;
        let data = directory.join("data");
        let mut initdb = as_owner(owner.as_deref(), &programs.join("initdb"));
        initdb
            .args([
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
                "--auth=trust",
                "--username",
                USER,
            ])
            .arg("--pgdata")
            .arg(&data);
        succeed(&mut initdb)?;
        let mut server = as_owner(owner.as_deref(), Path::new("/bin/sh"));
        server.args(["-c", GUARD, "guard"]).arg(programs.join("postgres"));
        server.arg("-D").arg(&data).arg("-k").arg(&directory).arg("-c").arg("listen_addresses=");
        for setting in settings {
            server.arg("-c").arg(setting);
        }
        server.env("DIRECTORY", &directory).current_dir("/");
        let mut guard = server
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("starting PostgreSQL: {e}"))?;
        let pipe = guard.stdin.take();
        let cluster = Self { directory, programs, databases: AtomicU32::new(0), guard, pipe };
        cluster.wait()?;
        Ok(cluster)
    }

    /// Makes an empty database and gives its URL.
    ///
    /// # Errors
    /// What the server said.
    pub fn database(&self) -> Result<String, String> {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut createdb = Command::new(self.programs.join("createdb"));
        succeed(createdb.arg("-h").arg(&self.directory).args(["-U", USER, &name]))?;
        let directory = self.directory.display();
        Ok(format!("postgres:///{name}?host={directory}&user={USER}&sslmode=disable"))
    }

    /// Runs SQL in a database of [`Cluster::database`] and gives what `psql` prints, unaligned and
    /// without headers.
    ///
    /// # Errors
    /// What the server said.
    pub fn sql(&self, url: &str, sql: &str) -> Result<String, String> {
        let name = url.trim_start_matches("postgres:///").split('?').next().unwrap_or_default();
        let mut psql = Command::new(self.programs.join("psql"));
        psql.arg("-h").arg(&self.directory).args(["-U", USER, "-d", name, "-X", "-q", "-t", "-A"]);
        succeed(psql.args(["-v", "ON_ERROR_STOP=1", "-c", sql]))
    }

    fn wait(&self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            let mut ready = Command::new(self.programs.join("pg_isready"));
            ready.arg("-q").arg("-h").arg(&self.directory).args(["-U", USER, "-t", "10"]);
            if ready.status().is_ok_and(|status| status.success()) {
                return Ok(());
            }
            // `pg_isready` gives up at once while the socket is not there yet.
            let (_sender, never) = std::sync::mpsc::channel::<()>();
            let _timeout = never.recv_timeout(Duration::from_millis(20));
        }
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        Err(format!("PostgreSQL did not start within a minute: {log}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ended = self.guard.wait();
    }
}

/// The test process's cluster, without waiting for the disk (its data is thrown away). Absent where
/// PostgreSQL is not installed: then it says so, or fails if `WINDLASS_TEST_ALL` is 1.
#[expect(clippy::print_stderr, reason = "a skipped test says so loudly")]
pub fn shared(test: &str) -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();
    let settings = ["fsync=off", "full_page_writes=off", "max_connections=200"];
    match CLUSTER.get_or_init(|| Cluster::start(&settings)) {
        Ok(cluster) => Some(cluster),
        Err(why) => {
            assert!(!crate::must_run_all(), "{test} can't run: {why}");
            eprintln!("SKIPPED {test}: {why}");
            None
        }
    }
}

/// The folder with `initdb` and `postgres`.
fn programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("bin"))
        .collect();
    folders.sort();
    folders.extend(crate::path_folders());
    folders.into_iter().rev().find(|folder| {
        ["initdb", "postgres", "createdb"].iter().all(|program| folder.join(program).exists())
    })
}

/// Whom the cluster belongs to; absent if that is whoever runs the test.
fn owner() -> Result<Option<String>, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = |name: &&str| users.lines().any(|line| line.starts_with(&format!("{name}:")));
    let owner = UNPRIVILEGED.iter().find(|name| known(name));
    let owner = owner.ok_or("needs a user `postgres` or `nobody`, since it runs as root")?;
    Ok(Some((*owner).to_owned()))
}

fn directory(owner: Option<&str>) -> Result<PathBuf, String> {
    let made = tempfile::Builder::new().prefix("windlass-pg-").tempdir();
    let directory = made.map_err(|e| format!("a temporary directory: {e}"))?.keep();
    let failed = |e: std::io::Error| format!("{}: {e}", directory.display());
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    if let Some(owner) = owner {
        succeed(Command::new("chown").arg(owner).arg(&directory))?;
    }
    Ok(directory)
}

fn as_owner(owner: Option<&str>, program: &Path) -> Command {
    let Some(owner) = owner else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", owner, "--clear-groups", "--"]).arg(program).current_dir("/");
    command
}

fn succeed(command: &mut Command) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{command:?}: {e}"))?;
    let (mut out, mut err) = (String::new(), String::new());
    // Neither prints enough to fill a pipe while the other is read.
    if let Some(stdout) = &mut child.stdout {
        let _cut = stdout.read_to_string(&mut out);
    }
    if let Some(stderr) = &mut child.stderr {
        let _cut = stderr.read_to_string(&mut err);
    }
    let status = child.wait().map_err(|e| format!("{command:?}: {e}"))?;
    if status.success() { Ok(out) } else { Err(format!("{command:?}: {status}: {err}")) }
}
