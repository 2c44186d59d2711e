//! `windlass up`: the server, and a runner of its own.

use anyhow::Result;

use super::embedded::{self, Embedded};
use crate::{arguments::Up, exit::Exit, settings::Settings, terminal::Style};

/// So many days; 0 is never.
fn archive_after(days: u64) -> Option<windlass_run::Duration> {
    let seconds = i64::try_from(days).unwrap_or(0) * 24 * 3_600;
    (days != 0).then(|| windlass_run::Duration::from_secs(seconds))
}

pub(crate) async fn run(settings: &Settings, up: Up) -> Result<Exit> {
    settings.make_data_dir()?;
    let options = embedded::Options {
        listen: up.listen,
        ssh: up.ssh,
        database: up.database,
        tls: up.tls,
        lease_seconds: Some(up.lease_seconds),
        stats_file: up.stats_file,
        runner: (!up.no_runner).then_some(up.runner),
        agents_dir: None,
        archive_after: archive_after(up.archive_after),
        environment_limits: windlass_run::environment::Limits {
            of_person: up.limits.environments_of_person,
            running_of_person: up.limits.environments_running,
            of_project: up.limits.environments_of_project,
        },
        ports: windlass_server::ports::Options {
            host: up.ports.ports_host,
            ceiling: super::env::ports::ceiling(up.ports.ports_admission),
        },
    };
    let embedded = Embedded::start(settings, options).await?;
    let style = Style::for_stdout();
    if settings.json {
        super::print_json(&serde_json::json!({
            "url": embedded.url(),
            "sign_in_link": embedded.sign_in_link(),
            "certificate": embedded.certificate(),
        }))?;
    } else {
        println!("Windlass listens on {}", style.bold(embedded.url()));
        println!("Sign in: {}", embedded.sign_in_link());
        println!("{}", style.dim("The link works once; `windlass user invite NAME` makes others."));
        if let Some(certificate) = embedded.certificate() {
            println!("Certificate (SHA-256): {certificate}");
        }
    }
    embedded.until_interrupted().await?;
    embedded.stop().await?;
    Ok(Exit::Success)
}
