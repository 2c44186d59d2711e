//! The subject: a server and a runner as processes of their own, producers over the API.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::{Arguments, Sample, cpu_us, database::Database};

/// One round on a fresh database.
pub(crate) async fn round(arguments: &Arguments, database: &Database) -> Result<Sample> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    let url = database.fresh(root)?;
    repository(&root.join("repository"))?;
    let mut server = Process(
        Command::new(&arguments.windlass)
            .arg("--data-dir")
            .arg(root.join("data"))
            .args(["up", "--no-runner", "--listen", "127.0.0.1:0", "--database", &url])
            .arg("--stats-file")
            .arg(root.join("stats.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("failed to start the server")?,
    );
    let api = Api::wait(&root.join("data/connection.json"), &mut server).await?;
    let body = json!({ "source": { "kind": "path", "path": root.join("repository") } });
    let project = api.post("/api/v1/projects", &body).await?;
    let body = json!({ "name": "bench", "role": "runner" });
    let token = api.post("/api/v1/tokens", &body).await?;
    fs::write(root.join("token"), token["secret"].as_str().context("a token has a secret")?)?;
    let runner = Process(
        Command::new(&arguments.windlass)
            .arg("--data-dir")
            .arg(root.join("runner-data"))
            .args(["runner", "--null-executor", "--capacity", "256", "--server", &api.url])
            .arg("--token-file")
            .arg(root.join("token"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("failed to start the runner")?,
    );
    api.wait_for_runner().await?;

    let processes = [server.0.id(), runner.0.id()];
    let cpu = || {
        let ours: u64 = processes.iter().map(|pid| cpu_us(&pid.to_string())).sum();
        anyhow::Ok(ours + cpu_us("self") + Database::cpu_us(&url)?)
    };
    let cpu_before = cpu()?;
    let started = Instant::now();
    produce(&api, arguments, project["id"].as_str().unwrap_or_default()).await?;
    api.wait_until_idle().await?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_after = cpu()?;
    drop(runner);
    server.terminate().await?;
    let stats: Value = serde_json::from_slice(&fs::read(root.join("stats.json"))?)?;
    let runs = arguments.runs as f64;
    Ok(Sample {
        runs_per_second: runs / seconds,
        cpu_us_per_run: (cpu_after - cpu_before) as f64 / runs,
        fsyncs_per_run: stats["fsyncs"].as_f64().context("the stats have fsyncs")? / runs,
    })
}

async fn produce(api: &Api, arguments: &Arguments, project: &str) -> Result<()> {
    let step = |id: &str| json!({ "id": id, "action": { "kind": "run", "command": "true" } });
    let body = Arc::new(json!({
        "project": project, "title": "no-op", "pull_request": false,
        "steps": [step("one"), step("two"), step("three")],
    }));
    let next = Arc::new(AtomicUsize::new(0));
    let mut producers = tokio::task::JoinSet::new();
    for _ in 0..arguments.producers {
        let (api, body, next) = (api.clone(), body.clone(), next.clone());
        let runs = arguments.runs;
        producers.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < runs {
                api.post("/api/v1/runs", &body).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = producers.join_next().await {
        done.context("a producer ended badly")??;
    }
    Ok(())
}

/// A process that doesn't outlive its round.
struct Process(Child);

impl Process {
    async fn terminate(&mut self) -> Result<()> {
        Command::new("kill").args(["-s", "TERM", &self.0.id().to_string()]).status()?;
        for _ in 0..600 {
            if self.0.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the server did not end within 12 s of SIGTERM")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Clone)]
struct Api {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Api {
    async fn wait(connection: &Path, server: &mut Process) -> Result<Self> {
        for _ in 0..600 {
            if let Ok(bytes) = fs::read(connection)
                && let Ok(known) = serde_json::from_slice::<Value>(&bytes)
            {
                let text = |key: &str| known[key].as_str().unwrap_or_default().to_owned();
                let api = Self {
                    http: reqwest::Client::builder().pool_max_idle_per_host(128).build()?,
                    url: text("url"),
                    token: text("token"),
                };
                if api.get("/api/v1/health").await.is_ok() {
                    return Ok(api);
                }
            }
            anyhow::ensure!(server.0.try_wait()?.is_none(), "the server ended at once");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the server did not come up")
    }

    async fn wait_for_runner(&self) -> Result<()> {
        for _ in 0..500 {
            let runners = self.get("/api/v1/runners").await?;
            if runners["items"].as_array().is_some_and(|items| !items.is_empty()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the runner did not register")
    }

    async fn wait_until_idle(&self) -> Result<()> {
        loop {
            let mut left = 0;
            for state in ["queued", "running"] {
                let page = self.get(&format!("/api/v1/runs?limit=1&state={state}")).await?;
                left += page["items"].as_array().map_or(0, Vec::len);
            }
            if left == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let page = self.get("/api/v1/runs?limit=1&state=failed").await?;
        anyhow::ensure!(
            page["items"].as_array().is_some_and(Vec::is_empty),
            "a run failed: {page}"
        );
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let request = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request =
            self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token).json(body);
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        anyhow::ensure!(status.is_success(), "{path} answered {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

fn repository(path: &Path) -> Result<()> {
    fs::create_dir_all(path)?;
    fs::write(path.join("README.md"), "# Bench\n")?;
    for arguments in [
        &["init", "-q", "-b", "main"][..],
        &["add", "."][..],
        &["-c", "user.name=Bench", "-c", "user.email=bench@example.org", "commit", "-qm", "bench"],
    ] {
        let status = Command::new("git").args(arguments).current_dir(path).status()?;
        anyhow::ensure!(status.success(), "git {arguments:?} failed");
    }
    Ok(())
}
