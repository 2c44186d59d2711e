//! `windlass runner`: works on a server's jobs, or lists its runners.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use windlass_policy::network::LayerText;
use windlass_run::Time;
use windlass_runner::{Options, Provider, Providers, Secret, stock::PoolLimits};
use windlass_sandbox::{Limits, toolchains};
use windlass_wire::api::Page;

use super::doctor::supervisor_argv;
use crate::{
    arguments::{self, RunnerOptions},
    client::Client,
    exit::Exit,
    settings::{self, Settings},
    terminal,
};

/// How long jobs may take to be given back when the runner is asked to end.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn run(settings: &Settings, verb: arguments::Runner) -> Result<Exit> {
    if verb.list {
        return list(settings).await;
    }
    let options = options(settings, &verb)?;
    // Whoever asks this process to end while it starts is heard too.
    let mut asked = std::pin::pin!(asked_to_end(verb.until_closed));
    let mut start = std::pin::pin!(windlass_runner::Runner::start(options));
    let (started, must_end) = tokio::select! {
        started = &mut start => (Some(started), false),
        asked = &mut asked => {
            asked?;
            (tokio::time::timeout(PATIENCE, &mut start).await.ok(), true)
        }
    };
    let Some(started) = started else { return Ok(Exit::Success) };
    let runner = started.context("the runner can't start")?;
    tracing::info!(runner_id = %runner.id(), "working");
    if !must_end {
        asked.await?;
    }
    runner.stop(PATIENCE).await;
    Ok(Exit::Success)
}

/// Waits until somebody wants this process to end.
async fn asked_to_end(until_closed: bool) -> Result<()> {
    tokio::select! {
        interrupted = super::embedded::interrupted() => interrupted,
        () = closed(), if until_closed => Ok(()),
    }
}

/// Waits until standard input is closed: whoever started this process is gone or wants it to end.
async fn closed() {
    let mut input = tokio::io::stdin();
    let mut sink = tokio::io::sink();
    let _ = tokio::io::copy(&mut input, &mut sink).await;
}

async fn list(settings: &Settings) -> Result<Exit> {
    let client = Client::find(settings).await?;
    let page: Page<windlass_wire::api::runner::Runner> = client.get("/api/v1/runners").await?;
    if settings.json {
        super::print_json(&page)?;
        return Ok(Exit::Success);
    }
    let rows = page.items.iter().map(|runner| {
        vec![
            runner.id.to_string(),
            terminal::one_line(&runner.name, 40),
            (if runner.alive { "here" } else { "away" }).to_owned(),
            format!("{} of {}", runner.jobs.len(), runner.capacity),
            terminal::one_line(&runner.version, 20),
        ]
    });
    terminal::table(&["runner", "name", "", "jobs", "version"], &rows.collect::<Vec<_>>());
    Ok(Exit::Success)
}

fn options(settings: &Settings, verb: &arguments::Runner) -> Result<Options> {
    let connection = settings.connection();
    let server_url = settings
        .server
        .clone()
        .or_else(|| connection.as_ref().map(|known| known.url.clone()))
        .ok_or_else(|| Exit::NoServer.error("name the server: --server URL --token-file FILE"))?;
    let token = settings
        .token
        .clone()
        .ok_or_else(|| Exit::Refused.error("a runner needs a token: --token-file FILE"))?;
    let state_dir = match &verb.state_dir {
        Some(dir) => std::path::absolute(dir)?,
        None => settings.data_dir.join("runner"),
    };
    settings::make_private(&state_dir)?;
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let toolchains = toolchains::find(home.as_deref(), |name| std::env::var_os(name));
    Ok(Options {
        server_url: server_url.trim_end_matches('/').to_owned(),
        token: Secret::new(token),
        server_certificate: verb.certificate.clone(),
        state_dir,
        capacity: verb.options.capacity.max(1),
        environments: verb.options.environments,
        name: verb.name.clone().unwrap_or_else(host_name),
        supervisor_argv: supervisor_argv()?,
        windlass_exe: std::env::current_exe().context("failed to find this program's own file")?,
        agents_dir: Some(
            verb.agents_dir.clone().unwrap_or_else(|| settings.data_dir.join("agents")),
        ),
        providers: providers(),
        replay_dir: verb.options.replays.clone(),
        network: network(&verb.options),
        binds: toolchains.binds,
        path: toolchains.path,
        environment: toolchains.env,
        backend: verb.options.images.backend.kind(),
        engine_socket: verb.options.images.engine_socket.clone(),
        first_process: vec!["first-process".to_owned()],
        default_image: verb.options.images.default_image.clone(),
        registries: match &verb.options.images.registry_auth {
            Some(file) => crate::registries::read(file)?,
            None => Default::default(),
        },
        image_bytes: verb.options.images.image_mib << 20,
        ca_bundle: ca_bundle(),
        limits: limits(&verb.options),
        layers: windlass_sandbox::Layers::default(),
        environment_definition: verb.options.environment_definition.strictness(),
        stock: stock(&verb.options),
        clock: Arc::new(now),
        null_executor: verb.null_executor,
    })
}

/// The model providers that the process environment names. The keys stay in this process.
fn providers() -> Providers {
    let provider = |key: &str, base_url: &str| {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (key, base_url) = (value(key).map(Secret::new), value(base_url));
        (key.is_some() || base_url.is_some()).then_some(Provider { base_url, key })
    };
    Providers {
        anthropic: provider("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
        openai: provider("OPENAI_API_KEY", "OPENAI_BASE_URL"),
        gemini: provider("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"),
    }
}

/// What is kept ready.
fn stock(options: &RunnerOptions) -> windlass_runner::stock::Options {
    let pool = PoolLimits { max: options.ahead, ..PoolLimits::default() };
    windlass_runner::stock::Options { bytes: options.prepared_mib << 20, pool }
}

fn network(options: &RunnerOptions) -> LayerText {
    let allow = (!options.allow_private.is_empty()).then(|| options.allow_private.clone());
    LayerText { allow, deny: Vec::new() }
}

/// The host's certificate authorities: what the operator named, or the usual places.
fn ca_bundle() -> Option<PathBuf> {
    let named = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"].map(std::env::var_os);
    let usual = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
    let named = named.into_iter().flatten().map(PathBuf::from);
    named.chain(usual.map(PathBuf::from)).find(|file| file.is_file())
}

fn limits(options: &RunnerOptions) -> Limits {
    Limits {
        memory_bytes: options.memory_mib.map(|mib| mib << 20),
        processes: Some(options.processes.unwrap_or(4096)),
        ..Limits::default()
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "runner".to_owned() } else { name.to_owned() }
}

/// The time now.
pub(crate) fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let micros = since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    Time::from_micros(micros)
}
