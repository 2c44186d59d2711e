//! `windlass runner`: works on a server's jobs; lets runners join, and says what is wanted of them.

mod members;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use windlass_policy::network::LayerText;
use windlass_run::{Labels, Time};
use windlass_runner::{Ending, Options, Provider, Providers, Secret, stock::PoolLimits};
use windlass_sandbox::{Limits, toolchains};

use super::doctor::supervisor_argv;
use crate::{
    arguments::{self, RunnerOptions, RunnerVerb, WorkAsRunner},
    exit::Exit,
    settings::{self, Settings},
};

/// How long jobs may take to be given back when the runner is asked to end.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn run(settings: &Settings, verb: arguments::Runner) -> Result<Exit> {
    match verb.verb {
        None => work(settings, &verb.work).await,
        Some(RunnerVerb::Join(join)) => {
            members::join(settings, &join).await?;
            match join.only {
                true => Ok(Exit::Success),
                false => work(settings, &join.work).await,
            }
        }
        Some(verb) => members::manage(settings, verb).await,
    }
}

/// Works on jobs until somebody wants this process to end.
async fn work(settings: &Settings, verb: &WorkAsRunner) -> Result<Exit> {
    let options = options(settings, verb)?;
    let program = options.windlass_exe.clone();
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
    if must_end {
        runner.stop(PATIENCE).await;
        return Ok(Exit::Success);
    }
    let ending = tokio::select! {
        asked = &mut asked => { asked?; None }
        ending = runner.ending() => Some(ending),
    };
    match ending {
        None => {
            runner.stop(PATIENCE).await;
            Ok(Exit::Success)
        }
        Some(Ending::Shut(why)) => {
            runner.stop(PATIENCE).await;
            let what = "the server wants nothing more of this runner; `windlass runner join` makes a new one";
            Err(Exit::Refused.error(format!("{what}: {why}")))
        }
        Some(Ending::Restart) => {
            tracing::info!("starting anew once the jobs have ended");
            tokio::select! {
                asked = &mut asked => {
                    asked?;
                    runner.stop(PATIENCE).await;
                    return Ok(Exit::Success);
                }
                () = runner.idle() => {}
            }
            runner.stop(PATIENCE).await;
            Err(anew(&program))
        }
    }
}

/// Becomes the program that is at this file now, with the same arguments. Returns only if it can't.
fn anew(program: &Path) -> anyhow::Error {
    use std::os::unix::process::CommandExt as _;
    let error = std::process::Command::new(program).args(std::env::args_os().skip(1)).exec();
    anyhow::Error::new(error).context(format!("failed to start {} anew", program.display()))
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

/// The runner's folder.
fn state_dir(settings: &Settings, verb: &WorkAsRunner) -> Result<PathBuf> {
    match &verb.state_dir {
        Some(dir) => Ok(std::path::absolute(dir)?),
        None => Ok(settings.data_dir.join("runner")),
    }
}

/// The server, the token for it and its certificate: as the command line says, or as this runner joined.
fn server(
    settings: &Settings,
    verb: &WorkAsRunner,
    state_dir: &Path,
) -> Result<(String, Secret, Option<String>)> {
    if let (Some(url), Some(token)) = (&settings.server, &settings.token) {
        return Ok((url.clone(), Secret::new(token.clone()), verb.certificate.clone()));
    }
    let membership = windlass_runner::join::membership(state_dir)
        .with_context(|| format!("failed to read how {} joined", state_dir.display()))?;
    if let Some(joined) = membership.filter(|joined| joined.runner_id.is_some()) {
        let certificate = verb.certificate.clone().or(joined.server_certificate);
        return Ok((joined.server_url, joined.token, certificate));
    }
    let url = settings.server.clone().or_else(|| settings.connection().map(|known| known.url));
    match (url, &settings.token) {
        (Some(url), Some(token)) => Ok((url, Secret::new(token.clone()), verb.certificate.clone())),
        _ => Err(Exit::NoServer.error(
            "this runner has joined no server: `windlass runner invite` on the server's machine prints \
             what to type here",
        )),
    }
}

fn options(settings: &Settings, verb: &WorkAsRunner) -> Result<Options> {
    let state_dir = state_dir(settings, verb)?;
    settings::make_private(&state_dir)?;
    let (server_url, token, certificate) = server(settings, verb, &state_dir)?;
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let toolchains = toolchains::find(home.as_deref(), |name| std::env::var_os(name));
    Ok(Options {
        server_url: server_url.trim_end_matches('/').to_owned(),
        token,
        server_certificate: certificate,
        state_dir,
        capacity: verb.options.capacity.max(1),
        environments: verb.options.environments,
        name: verb.name.clone().unwrap_or_else(host_name),
        labels: Labels::new(verb.options.labels.iter().cloned()).context("--label")?,
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
