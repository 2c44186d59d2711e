//! `windlass env`: environments that live by themselves.

mod exec;
mod files;
mod folders;
pub(crate) mod ports;
mod repair;
mod services;
mod shell;
mod ssh_config;
mod why_slow;

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::Method;
use windlass_wire::api::{
    Page,
    environment::{Environment, ForkEnvironment, Happening, NewEnvironment},
};

use crate::{
    arguments::{CreateEnv, Env},
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

/// The time between two looks at one that is waited for.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) async fn run(settings: &Settings, verb: Env) -> Result<Exit> {
    let client = Client::find(settings).await?;
    let env = |client: Client| Verb { client, settings };
    match verb {
        Env::Create(create) => env(client).create(create).await,
        Env::List { mine, project, all } => env(client).list(mine, project, all).await,
        Env::Show { env: name } => env(client).show(&name).await,
        Env::Logs { env: name, service, task, follow } => {
            env(client).logs(&name, service, task, follow).await
        }
        Env::Services(services) => env(client).services(services).await,
        Env::Task { env: name, name: None } => env(client).tasks(&name).await,
        Env::Task { env: name, name: Some(task) } => env(client).run_task(&name, &task).await,
        Env::WhySlow { what } => env(client).why_slow(&what).await,
        Env::Repair(repair) => env(client).repair(repair).await,
        Env::Journal { env: name } => env(client).journal(&name).await,
        Env::Start { env: name, no_wait } => env(client).start(&name, !no_wait).await,
        Env::Fork { env: from, name, no_wait } => env(client).fork(&from, name, !no_wait).await,
        Env::Stop { env: name, no_wait } => env(client).stop(&name, !no_wait).await,
        Env::Archive { env: name } => env(client).say(&name, "archive").await,
        Env::Unarchive { env: name } => env(client).say(&name, "unarchive").await,
        Env::Delete { env: name } => env(client).delete(&name).await,
        Env::Undelete { env: name } => env(client).say(&name, "undelete").await,
        Env::Exec(exec) => exec::run(&client, exec, settings.json).await,
        Env::Shell(shell) => shell::run(&client, shell).await,
        Env::Ports { env: name } => ports::list(&client, &name, settings.json).await,
        Env::Publish(publish) => ports::publish(&client, publish, settings.json).await,
        Env::Unpublish { env: name, port } => ports::unpublish(&client, &name, port).await,
        Env::SshConfig { write } => ssh_config::run(&client, write).await,
        Env::Files { env: name, path } => env(client).files(&name, &path).await,
        Env::Cat { env: name, path } => env(client).cat(&name, &path).await,
        Env::Edit { env: name, path } => env(client).edit(&name, &path).await,
        Env::Diff { env: name, path, stat, head } => {
            env(client).diff(&name, path, stat, head).await
        }
        Env::Cp { recursive: true, from, to } => folders::copy(&client, &from, &to).await,
        Env::Cp { recursive: false, from, to } => exec::copy(&client, &from, &to).await,
        Env::Work { env: name, output } => env(client).work(&name, &output).await,
    }
}

struct Verb<'a> {
    client: Client,
    settings: &'a Settings,
}

impl Verb<'_> {
    async fn create(&self, create: CreateEnv) -> Result<Exit> {
        let new = NewEnvironment {
            project: create.project,
            base: create.base,
            name: create.name,
            network: create.allow,
            idle_minutes: create.idle,
            life_hours: create.life,
            class: create.class,
            runs_on: create.runs_on,
        };
        let made: Environment = self.client.post("/api/v1/environments", &new).await?;
        if create.no_wait {
            return self.print(&made);
        }
        self.until_running(made).await
    }

    async fn list(&self, mine: bool, project: Option<String>, all: bool) -> Result<Exit> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![
                ("limit", "200".to_owned()),
                ("mine", mine.to_string()),
                ("all", all.to_string()),
            ];
            query.extend(project.clone().map(|project| ("project", project)));
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let page: Page<Environment> = self.client.query("/api/v1/environments", &query).await?;
            items.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        if self.settings.json {
            super::print_json(&Page { items, next: None })?;
            return Ok(Exit::Success);
        }
        let style = Style::for_stdout();
        let rows = items.iter().map(|env| {
            vec![
                terminal::one_line(&env.name, 64),
                style.state(if env.recovery.is_some() { "recovery" } else { &env.phase }),
                terminal::one_line(&env.project, 40),
                terminal::one_line(&env.base, 40),
                terminal::one_line(&env.owner.name, 40),
                env.runner.as_deref().map_or_else(String::new, |name| terminal::one_line(name, 40)),
            ]
        });
        let rows: Vec<_> = rows.collect();
        terminal::table(&["name", "phase", "project", "ref", "owner", "runner"], &rows);
        Ok(Exit::Success)
    }

    async fn show(&self, name: &str) -> Result<Exit> {
        self.print(&self.get(name).await?)
    }

    async fn journal(&self, name: &str) -> Result<Exit> {
        let happenings: Vec<Happening> =
            self.client.get(&format!("{}/journal", path(name))).await?;
        if self.settings.json {
            super::print_json(&happenings)?;
            return Ok(Exit::Success);
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = i64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(i64::MAX);
        let rows = happenings.iter().map(|happening| {
            vec![
                format!("{} ago", terminal::span(now.saturating_sub(happening.at).max(0))),
                terminal::one_line(&happening.by.name, 40),
                terminal::one_line(&happening.what, 200),
            ]
        });
        terminal::table(&["when", "who", "what"], &rows.collect::<Vec<_>>());
        Ok(Exit::Success)
    }

    async fn start(&self, name: &str, wait: bool) -> Result<Exit> {
        let env: Environment = self.tell(name, "start").await?;
        if wait { self.until_running(env).await } else { self.print(&env) }
    }

    async fn fork(&self, from: &str, name: Option<String>, wait: bool) -> Result<Exit> {
        let fork = ForkEnvironment { name };
        let env: Environment = self.client.post(&format!("{}/fork", path(from)), &fork).await?;
        if wait { self.until_running(env).await } else { self.print(&env) }
    }

    async fn stop(&self, name: &str, wait: bool) -> Result<Exit> {
        let mut env: Environment = self.tell(name, "stop").await?;
        while wait && env.phase == "stopping" {
            tokio::time::sleep(LOOK).await;
            env = self.get(env.id.as_str()).await?;
        }
        self.print(&env)
    }

    async fn say(&self, name: &str, what: &str) -> Result<Exit> {
        let env = self.tell(name, what).await?;
        self.print(&env)
    }

    async fn delete(&self, name: &str) -> Result<Exit> {
        let id = self.get(name).await?.id;
        self.client.command(Method::DELETE, &path(id.as_str())).await?;
        self.print(&self.get(id.as_str()).await?)
    }

    async fn work(&self, name: &str, output: &std::path::Path) -> Result<Exit> {
        let bundle = self.client.bytes(&format!("{}/work", path(name))).await?;
        std::fs::write(output, &bundle)
            .with_context(|| format!("failed to write {}", output.display()))?;
        let shown = output.display();
        println!(
            "{shown}: {} bytes; in a clone: git pull {shown} \"$(git bundle list-heads {shown} | cut -d' ' -f2)\"",
            bundle.len()
        );
        Ok(Exit::Success)
    }

    async fn get(&self, name: &str) -> Result<Environment> {
        self.client.get(&path(name)).await
    }

    async fn tell(&self, name: &str, what: &str) -> Result<Environment> {
        let nothing = serde_json::json!({});
        self.client.post(&format!("{}/{what}", path(name)), &nothing).await
    }

    /// Waits until it runs, and prints it; or until it is clear that it does not, and prints why.
    async fn until_running(&self, mut env: Environment) -> Result<Exit> {
        let mut said = String::new();
        loop {
            let now = format!("{} {}", env.phase, env.reason.as_deref().unwrap_or_default());
            if now != said && !self.settings.json {
                eprintln!("{}", terminal::one_line(now.trim(), 200));
                said = now;
            }
            match env.phase.as_str() {
                "creating" | "starting" => {}
                "running" => return self.print(&env),
                _ => {
                    self.print(&env)?;
                    return Ok(Exit::Failure);
                }
            }
            tokio::time::sleep(LOOK).await;
            env = self.get(env.id.as_str()).await?;
        }
    }

    fn print(&self, env: &Environment) -> Result<Exit> {
        if self.settings.json {
            super::print_json(env)?;
            return Ok(Exit::Success);
        }
        let style = Style::for_stdout();
        let stands = if env.recovery.is_some() { "recovery" } else { &env.phase };
        println!("{} {}", style.bold(&terminal::one_line(&env.name, 64)), style.state(stands));
        let line = |name: &str, value: &str| {
            println!("  {}  {}", style.dim(&format!("{name:<8}")), terminal::one_line(value, 400));
        };
        if let Some(reason) = &env.reason {
            line("why", reason);
        }
        if let Some(reason) = &env.recovery {
            line("recovery", reason);
            line(
                "repair",
                &format!(
                    "by hand: ~/start.log inside has the log, then `windlass env stop` and `start`; or by an agent: windlass env repair {}",
                    env.name
                ),
            );
        }
        line("id", env.id.as_str());
        line("project", &format!("{} at {}", env.project, env.base));
        line("owner", &env.owner.name);
        if let Some(runner) = &env.runner {
            line("runner", runner);
        }
        let labels = match env.runs_on.is_empty() {
            true => String::new(),
            false => format!(", on runners with {}", env.runs_on.join(", ")),
        };
        line("class", &format!("{}{labels}", env.class));
        for limit in &env.limits {
            let is_it = if limit.enforced { "enforced" } else { "not enforced" };
            line("", &format!("{} {}: {is_it} ({})", limit.what, limit.shown, limit.how));
        }
        if let Some(minutes) = env.idle_minutes {
            line("idle", &format!("stopped after {minutes} min without anything happening"));
        }
        if !env.start.is_empty() {
            let part = |stage: &windlass_wire::api::environment::Stage| {
                let micros = i64::try_from(stage.micros).unwrap_or(i64::MAX);
                format!("{} {}", stage.name, terminal::span(micros))
            };
            let parts: Vec<String> = env.start.iter().map(part).collect();
            line("start", &parts.join(", "));
        }
        if let Some(work) = &env.unpushed {
            let what = format!(
                "{} changed files are kept as {:.12}: windlass env work {} --output work.bundle",
                work.files, work.commit, env.name
            );
            line("work", &what);
        }
        if env.undo_until.is_some() {
            line("undo", &format!("windlass env undelete {}", env.name));
        }
        Ok(Exit::Success)
    }
}

/// The address of an environment. A name that could not be one is refused by the server.
fn path(name: &str) -> String {
    format!("/api/v1/environments/{}", segment(name))
}

/// A name as one part of an address.
fn segment(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
