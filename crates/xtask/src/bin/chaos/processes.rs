//! The real processes: started, found, killed, revived. Only processes that this world started, or
//! their descendants, are ever signalled, each by its id.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rand::{Rng as _, rngs::StdRng};
use serde::{Serialize, de::DeserializeOwned};

/// A server and a runner, as processes.
pub(crate) struct World {
    windlass: PathBuf,
    root: PathBuf,
    port: u16,
    server: Child,
    runner: Option<Child>,
    http: reqwest::Client,
    token: String,
}

impl World {
    /// Starts both.
    pub(crate) async fn start(windlass: &Path, root: &Path) -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let server = start_server(windlass, root, port)?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build()?;
        let mut world = Self {
            windlass: windlass.to_owned(),
            root: root.to_owned(),
            port,
            server,
            runner: None,
            http,
            token: String::new(),
        };
        world.read_token().await?;
        let body = serde_json::json!({ "name": "chaos", "role": "runner" });
        let created: serde_json::Value =
            world.post("/api/v1/tokens", "runner-token", &body).await?;
        let secret = created["secret"].as_str().context("a created token has a secret")?;
        fs::write(root.join("runner-token"), secret)?;
        world.runner = Some(world.start_runner()?);
        Ok(world)
    }

    async fn read_token(&mut self) -> Result<()> {
        for _ in 0..600 {
            let file = self.root.join("data/connection.json");
            if let Ok(bytes) = fs::read(file)
                && let Ok(connection) = serde_json::from_slice::<serde_json::Value>(&bytes)
                && let Some(token) = connection["token"].as_str()
            {
                self.token = token.to_owned();
                if self.is_healthy().await {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the server did not come up: see {}", self.root.join("server.log").display())
    }

    async fn is_healthy(&self) -> bool {
        self.get::<serde_json::Value>("/api/v1/health").await.is_ok()
    }

    fn start_runner(&self) -> Result<Child> {
        Command::new(&self.windlass)
            .arg("--data-dir")
            .arg(self.root.join("runner-data"))
            .arg("runner")
            .args(["--server", &self.url(), "--capacity", "6", "--name", "chaos"])
            .arg("--token-file")
            .arg(self.root.join("runner-token"))
            .arg("--state-dir")
            .arg(self.root.join("runner"))
            .arg("--replays")
            .arg(self.root.join("replays"))
            .env("WINDLASS_LOG", "info")
            .env_remove("WINDLASS_TOKEN")
            .stdin(Stdio::null())
            .stdout(log(&self.root, "runner.log")?)
            .stderr(log(&self.root, "runner.log")?)
            .spawn()
            .context("failed to start the runner")
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills one process with SIGKILL and says which sort it was.
    pub(crate) fn kill_one(&mut self, random: &mut StdRng) -> Result<Option<&'static str>> {
        let descendants = self.runner.as_ref().map(|child| descendants(child.id()));
        let (supervisors, inside): (Vec<_>, Vec<_>) = descendants
            .unwrap_or_default()
            .into_iter()
            .partition(|pid| arguments_of(*pid).iter().any(|word| word == "supervisor"));
        match random.random_range(0..100) {
            0..38 => {
                self.server.kill()?;
                self.server.wait()?;
                Ok(Some("server"))
            }
            38..76 => {
                let Some(runner) = &mut self.runner else { return Ok(None) };
                runner.kill()?;
                runner.wait()?;
                Ok(Some("runner"))
            }
            76..82 if !supervisors.is_empty() => {
                kill(supervisors[random.random_range(0..supervisors.len())])?;
                Ok(Some("supervisor"))
            }
            _ if !inside.is_empty() => {
                kill(inside[random.random_range(0..inside.len())])?;
                Ok(Some("environment"))
            }
            _ => Ok(None),
        }
    }

    /// Starts again what is dead.
    pub(crate) async fn revive(&mut self) -> Result<()> {
        if self.server.try_wait()?.is_some() {
            self.server = start_server(&self.windlass, &self.root, self.port)?;
            for _ in 0..600 {
                if self.is_healthy().await {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let dead = match &mut self.runner {
            Some(runner) => runner.try_wait()?.is_some(),
            None => true,
        };
        if dead {
            self.runner = Some(self.start_runner()?);
        }
        Ok(())
    }

    /// Ends the runner as an operator would, and waits for it.
    pub(crate) async fn stop_runner(&mut self) -> Result<()> {
        let Some(mut runner) = self.runner.take() else { return Ok(()) };
        terminate(runner.id())?;
        for _ in 0..600 {
            if runner.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the runner did not end within 30 s of SIGTERM")
    }

    /// Ends the server as an operator would, and waits for it.
    pub(crate) async fn stop_server(&mut self) -> Result<()> {
        terminate(self.server.id())?;
        for _ in 0..600 {
            if self.server.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the server did not end within 30 s of SIGTERM")
    }

    /// Kills runner and supervisor as hard as can be.
    pub(crate) fn kill_runner_and_supervisor(&mut self) -> Result<()> {
        let Some(mut runner) = self.runner.take() else { return Ok(()) };
        runner.kill()?;
        runner.wait()?;
        // A supervisor outlives the runner that started it, so it need not be below the last one.
        let state = self.root.to_string_lossy().into_owned();
        for pid in pids() {
            let words = arguments_of(pid);
            let is_ours = words.iter().any(|word| word.starts_with(&state));
            if is_ours && words.iter().any(|word| word == "supervisor") {
                kill(pid)?;
            }
        }
        Ok(())
    }

    /// Reads from the API.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.http.get(format!("{}{path}", self.url())).bearer_auth(&self.token);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// Commands the API, under a key that makes a repeated call the same call.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let request = self
            .http
            .post(format!("{}{path}", self.url()))
            .bearer_auth(&self.token)
            .header("Idempotency-Key", key)
            .json(body);
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        anyhow::ensure!(status.is_success(), "{path} answered {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        if let Some(runner) = &mut self.runner {
            let _ = runner.kill();
            let _ = runner.wait();
        }
    }
}

fn start_server(windlass: &Path, root: &Path, port: u16) -> Result<Child> {
    Command::new(windlass)
        .arg("--data-dir")
        .arg(root.join("data"))
        .args(["up", "--no-runner", "--lease-seconds", "5"])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .env("WINDLASS_LOG", "info")
        .stdin(Stdio::null())
        .stdout(log(root, "server.log")?)
        .stderr(log(root, "server.log")?)
        .spawn()
        .context("failed to start the server")
}

fn log(root: &Path, name: &str) -> Result<File> {
    Ok(fs::OpenOptions::new().create(true).append(true).open(root.join(name))?)
}

/// All processes below one, by the parents that the kernel reports now.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = pids().filter_map(|pid| Some((pid, parent_of(pid)?))).collect();
    let mut family = vec![root];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family.split_off(1)
}

/// All process ids now.
pub(crate) fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// A process's arguments; empty for one that is gone.
pub(crate) fn arguments_of(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

fn kill(pid: u32) -> Result<()> {
    signal("KILL", pid)
}

fn terminate(pid: u32) -> Result<()> {
    signal("TERM", pid)
}

/// A process that is gone already is no error: it died meanwhile.
fn signal(name: &str, pid: u32) -> Result<()> {
    Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .context("failed to start kill")?;
    Ok(())
}
