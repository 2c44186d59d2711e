//! `windlass agents`: which coding agents are known, installed, and able to shake hands.

use std::{collections::BTreeMap, ffi::OsString, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::net::unix::pipe;
use windlass_agent::{
    acp::{self, Limits, Streams, Tail},
    install::{self, HostNpm, Listed, Step},
    known::{self, Agent, HomeFile, INSTALLED_UNDER, Licence, Mode, ModelDoor},
};
use windlass_sandbox::{
    Bind, Client as Sandbox, EnvironmentId, Exec, Io, OperationId, Plan, State,
};

use super::doctor::supervisor_argv;
use crate::{
    arguments::Agents,
    exit::Exit,
    settings::{self, Settings},
    terminal::{self, Style},
};

pub(crate) async fn run(settings: &Settings, verb: Agents) -> Result<Exit> {
    let root = settings.data_dir.join("agents");
    match verb {
        Agents::List => list(settings, &root),
        Agents::Install { agent } => install(settings, &root, &agent).await,
        Agents::Check { name } => check(settings, &root, &name).await,
    }
}

/// The installed versions, by the name of the agent.
type Versions = BTreeMap<String, Vec<String>>;

/// The installed versions of each agent, and what looks installed but isn't usable.
fn installed(root: &Path) -> Result<(Versions, Vec<String>)> {
    let mut versions = Versions::new();
    let mut broken = Vec::new();
    if !root.exists() {
        return Ok((versions, broken));
    }
    for listed in install::list(root).context("failed to look for installed agents")? {
        match listed {
            Listed::Installed(one) => versions.entry(one.name).or_default().push(one.version),
            Listed::Broken { path, why } => broken.push(format!("{}: {why}", path.display())),
        }
    }
    Ok((versions, broken))
}

fn list(settings: &Settings, root: &Path) -> Result<Exit> {
    let (versions, broken) = installed(root)?;
    let of = |agent: &Agent| versions.get(agent.name).cloned().unwrap_or_default();
    if settings.json {
        let agents = known::ALL.iter().map(|agent| {
            serde_json::json!({
                "name": agent.name,
                "title": agent.title,
                "package": agent.package.map(|package| package.name),
                "version": agent.package.map(|package| package.version),
                "licence": licence(agent.licence),
                "installed": of(agent),
                "traps": agent.traps,
            })
        });
        let all = serde_json::json!({ "agents": agents.collect::<Vec<_>>(), "broken": broken });
        super::print_json(&all)?;
        return Ok(Exit::Success);
    }
    let rows = known::ALL.iter().map(|agent| {
        let installed = match (&agent.package, of(agent)) {
            (None, _) => "part of Windlass".to_owned(),
            (Some(_), none) if none.is_empty() => "-".to_owned(),
            (Some(_), some) => some.join(", "),
        };
        vec![agent.name.to_owned(), installed, agent.title.to_owned(), licence(agent.licence)]
    });
    terminal::table(&["agent", "installed", "", "licence"], &rows.collect::<Vec<_>>());
    for line in broken {
        println!("not usable: {line}");
    }
    println!(
        "\nInstall one: windlass agents install NAME[@VERSION]. Any other program that speaks"
    );
    println!("the Agent Client Protocol: windlass run ... --agent \"custom: COMMAND\".");
    Ok(Exit::Success)
}

fn licence(licence: Licence) -> String {
    match licence {
        Licence::Open(name) => name.to_owned(),
        Licence::Proprietary(_) => "proprietary: you accept its terms".to_owned(),
    }
}

async fn install(settings: &Settings, root: &Path, text: &str) -> Result<Exit> {
    let (agent, version) = install::parse(text)?;
    if let (Licence::Proprietary(terms), false) = (agent.licence, settings.json) {
        println!("{}: {terms}", agent.title);
    }
    settings.make_data_dir()?;
    std::fs::create_dir_all(root).with_context(|| format!("failed to make {}", root.display()))?;
    let plan = install::plan(agent, &version, root)?;
    let kept = |name: &str| {
        matches!(name, "PATH" | "HOME" | "NODE_EXTRA_CA_CERTS" | "SSL_CERT_FILE")
            || name.to_ascii_lowercase().ends_with("_proxy")
            || name.to_ascii_lowercase().starts_with("npm_config_")
    };
    let mut npm = HostNpm {
        program: "npm".into(),
        environment: std::env::vars().filter(|(name, _)| kept(name)).collect(),
        limit: Duration::from_secs(20 * 60),
    };
    let say = |step: &Step| {
        if !settings.json {
            println!("{}", Style::for_stdout().dim(told(step)));
        }
    };
    let installed = install::carry_out(&plan, &mut npm, say).await?;
    if settings.json {
        super::print_json(&installed)?;
    } else {
        println!("{} {} is in {}", installed.name, installed.version, plan.target.display());
    }
    Ok(Exit::Success)
}

fn told(step: &Step) -> &'static str {
    match step {
        Step::Write { .. } => "writing what npm needs to know",
        Step::Npm { .. } => "npm fetches it, without running its install scripts",
        Step::Expect { .. } => "looking for the program",
        Step::Record { .. } => "recording versions and hashes",
        Step::Open => "making it readable for environments",
        Step::Publish => "moving it to its place",
    }
}

/// Starts an installed agent in an environment without a network, and shakes hands.
async fn check(settings: &Settings, root: &Path, name: &str) -> Result<Exit> {
    let Some(agent) = known::find(name) else {
        bail!("no agent is called `{name}`: see `windlass agents list`");
    };
    let (versions, _) = installed(root)?;
    let version = versions.get(agent.name).and_then(|all| all.last());
    let (Some(version), Some(_)) = (version, &agent.package) else {
        bail!("{name} isn't installed: windlass agents install {name}");
    };
    let scratch =
        std::env::temp_dir().join(format!("windlass-check-{:08x}", rand::random::<u32>()));
    settings::make_private(&scratch)?;
    let met = shake_hands(root, agent, version, &scratch).await;
    let _ = std::fs::remove_dir_all(&scratch);
    let said = met.with_context(|| format!("{name} {version} doesn't work here"))?;
    if settings.json {
        super::print_json(&serde_json::json!({ "name": name, "version": version, "ok": true }))?;
    } else {
        println!("{name} {version} answers: {}", terminal::one_line(&said, 100));
    }
    Ok(Exit::Success)
}

async fn shake_hands(root: &Path, agent: &Agent, version: &str, scratch: &Path) -> Result<String> {
    let state = scratch.join("environments");
    let tree = scratch.join("tree");
    settings::make_private(&state)?;
    std::fs::create_dir(&tree)?;
    let mut argv = supervisor_argv()?;
    argv.push(state.clone().into_os_string());
    let sandbox = tokio::task::spawn_blocking(move || Sandbox::spawn_or_connect(&state, &argv))
        .await
        .context("failed to start a supervisor")??;
    let said = in_environment(&sandbox, root, agent, version, &tree).await;
    let ended = sandbox.shutdown().await;
    let said = said?;
    ended?;
    Ok(said)
}

async fn in_environment(
    sandbox: &Sandbox,
    root: &Path,
    agent: &Agent,
    version: &str,
    tree: &Path,
) -> Result<String> {
    let id = EnvironmentId::parse("check")?;
    let mut plan = Plan::new(id.clone(), tree, "/workspace/check");
    let bind = Bind { host: root.to_owned(), inside: INSTALLED_UNDER.into(), optional: false };
    plan.binds.push(bind);
    sandbox.create(&plan).await?;
    // Nobody answers at this door: a handshake calls no model.
    let environment = agent.environment(&ModelDoor::at("http://127.0.0.1:9"), None, Mode::Ask);
    for (n, file) in environment.files.iter().enumerate() {
        write_home_file(sandbox, &id, n, file).await?;
    }
    let variables = environment.variables.into_iter();
    let exec = Exec {
        operation: OperationId::parse("agent")?,
        argv: agent
            .command(Path::new(INSTALLED_UNDER), version)
            .into_iter()
            .map(OsString::from)
            .collect(),
        env: variables.map(|(name, value)| (name.into(), value.into())).collect(),
        cwd: "/workspace/check".into(),
        io: Io::Pipes,
    };
    let pipes = sandbox.exec(&id, &exec).await?.pipes.context("the agent has no pipes")?;
    let tail = Tail::default();
    let mut errors = pipe::Receiver::from_owned_fd(pipes.stderr)?;
    let heard = tail.clone();
    let listening = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = tokio::io::AsyncReadExt::read(&mut errors, &mut buffer).await {
            heard.push(&buffer[..n]);
        }
    });
    let streams = Streams {
        stdout: pipe::Receiver::from_owned_fd(pipes.stdout)?,
        stdin: pipe::Sender::from_owned_fd(pipes.stdin)?,
        stderr: tail,
    };
    let met = acp::check(streams, Path::new("/workspace/check"), Limits::default()).await;
    sandbox.destroy(&id).await?;
    listening.abort();
    let met = met?;
    let name = met.name.as_deref().unwrap_or("it gives no name");
    Ok(format!("{name}, modes: {}", met.modes.join(", ")))
}

/// Writes one file of settings into the home inside: some agents read nothing else.
async fn write_home_file(
    sandbox: &Sandbox,
    id: &EnvironmentId,
    n: usize,
    file: &HomeFile,
) -> Result<()> {
    let exec = Exec {
        operation: OperationId::parse(&format!("settings-{n}"))?,
        argv: file.writer().map(OsString::from).into(),
        env: vec![],
        cwd: "/workspace/check".into(),
        io: Io::Capture { limit_bytes: 1_000 },
    };
    sandbox.exec(id, &exec).await?;
    let ended = sandbox.wait(id, &exec.operation).await?;
    ensure!(
        ended.state == State::Exited { code: 0 },
        "~/{} could not be written inside ({:?})",
        file.path,
        ended.state
    );
    Ok(())
}
