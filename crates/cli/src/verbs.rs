//! The verbs, one file each. This file only routes.

mod agent;
mod agents;
mod automation;
mod check;
mod class;
mod demo;
mod doctor;
mod embedded;
mod env;
mod environment;
mod event;
mod files;
mod find;
mod first_process;
mod fleet;
mod follow;
mod hook;
mod image;
mod job;
mod key;
mod logs;
mod notices;
mod project;
mod review;
mod run;
mod runner;
mod runs;
mod schedule;
mod secret;
mod sftp;
mod supervisor;
mod token;
mod up;
mod user;
mod version;
mod volume;

use std::future::Future;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use windlass_wire::api::secret::SecretKind;

use crate::{
    arguments::{Arguments, Verb},
    exit::Exit,
    settings::Settings,
};

/// Does what the command line asks for.
pub(crate) fn dispatch(arguments: Arguments) -> Result<Exit> {
    // These run before anything else is set up: two must have a single thread, two own their standard
    // streams, two must work without a home folder.
    match arguments.verb {
        Verb::Supervisor(verb) => return supervisor::run(verb),
        Verb::FirstProcess { arguments } => return first_process::run(&arguments),
        Verb::Agent => return wait(agent::run()),
        Verb::SftpServer => return wait(sftp::run()),
        Verb::FileServer => return files::run(),
        Verb::Schedule(verb) => return schedule::run(arguments.json, verb),
        Verb::Completion { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "windlass", &mut std::io::stdout());
            return Ok(Exit::Success);
        }
        _ => {}
    }
    log_to_stderr();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = Settings::read(&arguments)?;
    match arguments.verb {
        Verb::Up(verb) => wait(up::run(&settings, verb)),
        Verb::Run(verb) => wait(run::run(&settings, verb)),
        Verb::Runs(verb) => wait(runs::run(&settings, verb)),
        Verb::Job(verb) => wait(job::run(&settings, verb)),
        Verb::Logs(verb) => wait(logs::run(&settings, verb)),
        Verb::Review(verb) => wait(review::run(&settings, verb)),
        Verb::Project(verb) => wait(project::run(&settings, verb)),
        Verb::Runner(verb) => wait(runner::run(&settings, verb)),
        Verb::Agents(verb) => wait(agents::run(&settings, verb)),
        Verb::Class(verb) => wait(class::run(&settings, verb)),
        Verb::Env(verb) => wait(env::run(&settings, verb)),
        Verb::Image(verb) => image::run(&settings, verb),
        Verb::Volume(verb) => volume::run(&settings, verb),
        Verb::Automation(verb) => wait(automation::run(&settings, verb)),
        Verb::Environment(verb) => environment::run(&settings, verb),
        Verb::Event(verb) => event::run(&settings, verb),
        Verb::Fleet(verb) => wait(fleet::run(&settings, verb)),
        Verb::Hook(verb) => wait(hook::run(&settings, verb)),
        Verb::Notices(verb) => wait(notices::run(&settings, &verb)),
        Verb::Token(verb) => wait(token::run(&settings, verb)),
        Verb::Key(verb) => wait(key::run(&settings, verb)),
        Verb::Secret(verb) => wait(secret::run(&settings, SecretKind::Secret, verb)),
        Verb::Variable(verb) => wait(secret::run(&settings, SecretKind::Variable, verb)),
        Verb::User(verb) => wait(user::run(&settings, verb)),
        Verb::Doctor => doctor::run(&settings),
        Verb::Demo(verb) => wait(demo::run(&settings, verb)),
        Verb::Version => wait(version::run(&settings)),
        Verb::Supervisor(_)
        | Verb::FirstProcess { .. }
        | Verb::Agent
        | Verb::SftpServer
        | Verb::FileServer
        | Verb::Schedule(_)
        | Verb::Completion { .. } => Ok(Exit::Success),
    }
}

fn wait<T>(verb: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?
        .block_on(verb)
}

/// The home folder of whoever calls.
fn home() -> Result<std::path::PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    Ok(home.context("HOME isn't set")?.into())
}

fn log_to_stderr() {
    let filter = std::env::var("WINDLASS_LOG").unwrap_or_else(|_| "warn".to_owned());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init();
}

/// Prints a value as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value).context("failed to print JSON")?);
    Ok(())
}
