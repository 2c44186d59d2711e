//! `cargo xtask bench trigger`: from sending a webhook until the first process of the first step of the run
//! that it starts, beside the least that this could cost.
//!
//! The *floor*, in the same round: two appends that reach the disk (the event, then the run), two round trips
//! over loopback (the webhook; a runner that is told), and the start of a process. The *subject* is
//! `windlass up` with its own runner; the first step prints the clock. The server, its runner and this
//! program read the same clock.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command for a terminal")]

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use clap::Parser;
use serde_json::{Value, json};
use windlass_run::{
    OrganisationId, Time, UserId,
    actor::{Actor, By},
};
use windlass_store::{
    Options, Store,
    automations::{Change, NewVersion, Origin},
    identity::{Organisation, Role, User},
};

/// Measures how soon a webhook has started something.
#[derive(Parser)]
struct Arguments {
    /// How many rounds.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// How many environments the runner keeps ahead for the project.
    #[arg(long, default_value_t = 2)]
    ahead: u32,
    /// Print JSON only.
    #[arg(long)]
    json: bool,
    /// Where to work. Compare only runs on the same file system.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// The `windlass` binary to measure.
    #[arg(long)]
    windlass: PathBuf,
}

const AUTOMATION: &str = "name: bench\non:\n  - webhook: bench\ntargets:\n  repositories: [repository]\n\
                          steps:\n  - id: first\n    run: date +%s%N\n";

fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime
        .context("failed to start the runtime")
        .and_then(|runtime| runtime.block_on(run(&Arguments::parse())));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("windlass-bench-");
    let folder = match &arguments.folder {
        Some(within) => builder.tempdir_in(within)?,
        None => builder.tempdir()?,
    };
    let floor = Floor::new(folder.path())?;
    let subject = Subject::start(arguments, folder.path()).await?;
    let (mut floors, mut subjects) = (Vec::new(), Vec::new());
    // The first ones are for what is loaded once.
    for round in 0..arguments.rounds + 3 {
        subject.wait_for_environments(arguments.ahead).await?;
        let least = floor.once()?;
        let ours = subject.once(round).await?;
        if round >= 3 {
            floors.push(least);
            subjects.push(ours);
        }
    }
    for (name, part) in [("trigger-p50", 0.50), ("trigger-p99", 0.99)] {
        let (floor, subject) = (quantile(&mut floors, part), quantile(&mut subjects, part));
        let ratio = subject / floor;
        println!(
            "{}",
            json!({
                "name": name, "unit": "ms", "floor": floor, "subject": subject, "ratio": ratio,
                "rounds": arguments.rounds, "cpu_us": null,
                "load": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
            })
        );
        if !arguments.json {
            println!(
                "{subject:.1} ms beside {floor:.1} ms, ratio {ratio:.2} (aim at p50: at most 3)"
            );
        }
    }
    Ok(())
}

fn quantile(times: &mut [Duration], part: f64) -> f64 {
    times.sort();
    let at = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
}

/// The least that it could cost.
struct Floor {
    file: File,
    echo: std::net::SocketAddr,
}

impl Floor {
    fn new(folder: &Path) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let echo = listener.local_addr()?;
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut bytes = [0; 1_024];
                while let Ok(n @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..n]).is_err() {
                        break;
                    }
                }
            }
        });
        Ok(Self { file: File::create(folder.join("floor"))?, echo })
    }

    fn once(&self) -> Result<Duration> {
        let mut stream = TcpStream::connect(self.echo)?;
        stream.set_nodelay(true)?;
        let (mut bytes, row) = ([7; 256], [7; 4_096]);
        let began = Instant::now();
        for _ in 0..2 {
            stream.write_all(&bytes)?;
            stream.read_exact(&mut bytes)?;
            (&self.file).write_all(&row)?;
            self.file.sync_data()?;
        }
        let output = Command::new("date").arg("+%s%N").output().context("failed to start date")?;
        let elapsed = began.elapsed();
        anyhow::ensure!(output.status.success(), "date failed");
        Ok(elapsed)
    }
}

/// A server with its runner.
struct Subject {
    process: Child,
    http: reqwest::Client,
    url: String,
    token: String,
    hook: String,
    secret: String,
}

impl Subject {
    async fn start(arguments: &Arguments, folder: &Path) -> Result<Self> {
        let database = format!("sqlite:{}", folder.join("bench.db").display());
        furnish(&database, folder).await?;
        repository(&folder.join("repository"))?;
        let mut process = Command::new(&arguments.windlass)
            .arg("--data-dir")
            .arg(folder.join("data"))
            .args(["up", "--listen", "127.0.0.1:0", "--database", &database])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("failed to start the server")?;
        let known: Value = loop {
            if let Ok(bytes) = fs::read(folder.join("data/connection.json"))
                && let Ok(known) = serde_json::from_slice(&bytes)
            {
                break known;
            }
            anyhow::ensure!(process.try_wait()?.is_none(), "the server ended at once");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let text = |key: &str| known[key].as_str().unwrap_or_default().to_owned();
        let mut subject = Self {
            process,
            http: reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?,
            url: text("url"),
            token: text("token"),
            hook: String::new(),
            secret: String::new(),
        };
        let source = json!({ "kind": "path", "path": folder.join("repository") });
        let project = json!({ "source": source });
        subject.call(reqwest::Method::POST, "/api/v1/projects", Some(&project)).await?;
        let ahead = json!({ "pool_min": arguments.ahead });
        let place = "/api/v1/projects/repository";
        subject.call(reqwest::Method::PATCH, place, Some(&ahead)).await?;
        let hook = json!({ "name": "bench", "scheme": "bearer" });
        let hook = subject.call(reqwest::Method::POST, "/api/v1/hooks", Some(&hook)).await?;
        subject.hook = hook["url"].as_str().context("an address")?.to_owned();
        subject.secret = hook["secret"].as_str().context("a secret")?.to_owned();
        Ok(subject)
    }

    /// From sending until the clock that the first process prints.
    async fn once(&self, round: usize) -> Result<Duration> {
        let request = self.http.post(&self.hook).bearer_auth(&self.secret);
        let request = request.header("webhook-id", format!("msg_{round}"));
        let sent = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let answer = request.body(format!("{{\"n\":{round}}}")).send().await?.error_for_status()?;
        let receipt: Value = answer.json().await?;
        let event = receipt["event"].as_str().context("an event")?;
        // What asks meanwhile takes time away from what is measured: so it asks seldom.
        let run = loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let event = self.get(&format!("/api/v1/events/{event}")).await?;
            if let Some(run) = event["firings"][0]["run_id"].as_str() {
                break run.to_owned();
            }
            let refused = &event["firings"][0]["reason"];
            anyhow::ensure!(refused.is_null() || refused == "", "nothing was started: {refused}");
        };
        let job = loop {
            let run = self.get(&format!("/api/v1/runs/{run}")).await?;
            let job = run["jobs"][0].clone();
            match job["state"].as_str() {
                Some("succeeded") => break job,
                Some("queued" | "running") => {}
                other => anyhow::bail!("the run ended as {other:?}: {job}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let job = job["id"].as_str().context("a job")?;
        let address = format!("{}/api/v1/jobs/{job}/steps/first/log", self.url);
        let log = self.http.get(address).bearer_auth(&self.token).send().await?.text().await?;
        let nanos = log.lines().find_map(|line| line.trim().parse::<u64>().ok());
        let began = Duration::from_nanos(nanos.with_context(|| format!("no clock in {log:?}"))?);
        Ok(began.saturating_sub(sent))
    }

    /// Until as many environments are ahead as are wanted, for at most ten seconds.
    async fn wait_for_environments(&self, ahead: u32) -> Result<()> {
        for _ in 0..100 {
            let pools = self.get("/api/v1/projects/repository/pool").await?;
            let ready = pools.as_array().into_iter().flatten();
            let ready = ready.map(|one| one["ready"].as_u64().unwrap_or_default()).sum::<u64>();
            if ready >= u64::from(ahead) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.call(reqwest::Method::GET, path, None).await
    }

    async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let request = request.bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        anyhow::ensure!(status.is_success(), "{path} answered {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It ends in good order; where it can't even be asked to, it is ended.
        let asked =
            Command::new("kill").args(["-s", "TERM", &self.process.id().to_string()]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// An organisation with one automation.
async fn furnish(database: &str, folder: &Path) -> Result<()> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now = Time::from_micros(i64::try_from(since.as_micros())?);
    let store = Store::open(database, Options::new(folder.join("blobs"), now)).await?;
    let (organisation_id, user_id) = (OrganisationId::new(now, 1), UserId::new(now, 1));
    let by = By::own(Actor::User(user_id.clone()));
    let organisation =
        Organisation { id: organisation_id.clone(), name: "bench".into(), created_at: now };
    store.create_organisation(by.clone(), organisation).await?;
    let user = User {
        id: user_id,
        organisation_id: organisation_id.clone(),
        name: "bench".into(),
        role: Role::Admin,
        password_hash: None,
        created_at: now,
        disabled_at: None,
    };
    store.create_user(by.clone(), user).await?;
    let (file, text) = ("bench.yaml".to_owned(), AUTOMATION.to_owned());
    let to = NewVersion { file, text, origin: Origin::Hand };
    let change = Change { name: "bench".to_owned(), expected: 0, to: Some(to) };
    store.apply_automations(by, organisation_id, vec![change], None, now).await?;
    store.close().await;
    Ok(())
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
