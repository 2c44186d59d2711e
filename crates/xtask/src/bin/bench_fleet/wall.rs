//! A fleet of script steps from asking to its last end, and `xargs` with the same commands.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use serde_json::Value;

/// What it took, in seconds.
#[derive(Serialize)]
pub(crate) struct Wall {
    pub(crate) fleet_s: f64,
    pub(crate) xargs_s: f64,
    pub(crate) xargs_path_s: f64,
}

const SCRIPT: &str = "sed -i s/one/two/ file.txt";

/// One repository of the floor: $1 is where it is cloned from, $2 the folder.
const FLOOR: &str = r#"set -eu
git clone --quiet "$1" "$2"
bwrap --ro-bind / / --bind "$2" "$2" --dev /dev --proc /proc --unshare-all --die-with-parent --chdir "$2" sh -eu -c "$SCRIPT"
git -C "$2" -c user.name=floor -c user.email=floor@localhost commit --quiet -a -m checkpoint
git -C "$2" bundle create --quiet "$2.bundle" HEAD ^origin/main
"#;

/// A server with a runner of its own, ended when dropped.
struct Server {
    child: Child,
    windlass: PathBuf,
    data: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(windlass: &Path, folder: &Path, capacity: usize) -> Result<Self> {
        let data = folder.join("data");
        let child = Command::new(windlass)
            .arg("--data-dir")
            .arg(&data)
            .args(["up", "--listen", "127.0.0.1:0", "--ahead", "0", "--capacity"])
            .arg(capacity.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("up.log"))?)
            .spawn()
            .context("failed to start windlass")?;
        let server = Self { child, windlass: windlass.to_owned(), data };
        for _ in 0..3_000 {
            if server.json(&["version"]).is_ok_and(|it| it["server"].is_string()) {
                return Ok(server);
            }
        }
        bail!("the server did not come up: see {}", folder.join("up.log").display())
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = Command::new(&self.windlass)
            .arg("--data-dir")
            .arg(&self.data)
            .arg("--json")
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "windlass {arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).context("windlass prints JSON")
    }
}

pub(crate) fn measure(
    windlass: &Path,
    folder: &Path,
    repositories: usize,
    capacity: usize,
) -> Result<Wall> {
    let windlass = windlass.canonicalize().context("there is no such binary")?;
    let sources = folder.join("sources");
    fs::create_dir_all(&sources)?;
    let server = Server::start(&windlass, folder, capacity)?;
    for n in 0..repositories {
        let path = repository(&sources, n)?;
        server.json(&["project", "add", path.to_str().context("UTF-8")?])?;
        server.json(&["project", "set", &name(n), "--labels", "fleet"])?;
    }
    let file = folder.join("bench.yaml");
    let limits = format!("limits: {{ parallel: {} }}", capacity * 4);
    let steps = format!("steps: [{{ run: {SCRIPT} }}]");
    fs::write(&file, format!("name: bench\ntargets: {{ labels: [fleet] }}\n{limits}\n{steps}\n"))?;
    let begun = Instant::now();
    let file = file.to_str().context("UTF-8")?;
    let started = server.json(&["automation", "run", file, "--detach"])?;
    let run = started["run_id"].as_str().context("a run")?;
    let fleet = server.json(&["fleet", "watch", run])?;
    let fleet_s = begun.elapsed().as_secs_f64();
    let ended = fleet["counts"]["succeeded"].as_u64();
    ensure!(ended == u64::try_from(repositories).ok(), "not all ended well: {}", fleet["counts"]);
    let connection: Value =
        serde_json::from_slice(&fs::read(folder.join("data/connection.json"))?)?;
    let url = connection["url"].as_str().context("a URL")?.to_owned();
    let token = connection["token"].as_str().context("a token")?.to_owned();
    let by_http: Vec<String> =
        (0..repositories).map(|n| format!("{url}/git/{}.git", name(n))).collect();
    let xargs_s = xargs(&folder.join("by-http"), &by_http, capacity, Some(&token))?;
    let by_path: Vec<String> =
        (0..repositories).map(|n| sources.join(name(n)).display().to_string()).collect();
    let xargs_path_s = xargs(&folder.join("by-path"), &by_path, capacity, None)?;
    Ok(Wall { fleet_s, xargs_s, xargs_path_s })
}

fn name(n: usize) -> String {
    format!("repo-{n:05}")
}

fn repository(sources: &Path, n: usize) -> Result<PathBuf> {
    let path = sources.join(name(n));
    fs::create_dir_all(&path)?;
    fs::write(path.join("file.txt"), format!("one {n}\n"))?;
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &["-c", "user.name=b", "-c", "user.email=b@localhost", "commit", "--quiet", "-m", "first"],
    ] {
        let status = Command::new("git").args(arguments).current_dir(&path).status()?;
        ensure!(status.success(), "git {arguments:?} failed");
    }
    Ok(path)
}

/// `bench:TOKEN` as HTTP wants it.
fn base64(token: &str) -> Result<String> {
    let mut child = Command::new("base64")
        .arg("-w0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start base64")?;
    let mut input = child.stdin.take().context("its input")?;
    input.write_all(format!("bench:{token}").as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs the floor over all of them, as many at once. The token is in the environment, never in an argument.
fn xargs(folder: &Path, from: &[String], at_once: usize, token: Option<&str>) -> Result<f64> {
    fs::create_dir_all(folder)?;
    let pairs: Vec<String> = from
        .iter()
        .enumerate()
        .map(|(n, from)| format!("{from}\n{}", folder.join(name(n)).display()))
        .collect();
    let list = folder.join("list");
    fs::write(&list, pairs.join("\n") + "\n")?;
    let mut command = Command::new("xargs");
    command
        .args(["-d", "\\n", "-n", "2", "-P", &at_once.to_string(), "sh", "-c", FLOOR, "floor"])
        .env("SCRIPT", SCRIPT)
        .stdin(File::open(&list)?)
        .stdout(Stdio::null());
    if let Some(token) = token {
        command
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {}", base64(token)?));
    }
    let begun = Instant::now();
    let status = command.status().context("failed to start xargs")?;
    ensure!(status.success(), "the floor failed: it needs bwrap and git");
    Ok(begun.elapsed().as_secs_f64())
}
