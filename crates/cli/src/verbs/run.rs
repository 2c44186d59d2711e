//! `windlass run`: a task in, a pull request out.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use windlass_run::spec::Mode;
use windlass_wire::api::{
    Page,
    project::{NewProject, Project, Source},
    run::{AgentOptions, Limits, NewRun, StartedRun},
};

use super::{
    embedded::{self, Embedded},
    follow, project,
};
use crate::{
    arguments::{self, Run, RunnerOptions},
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

pub(crate) async fn run(settings: &Settings, verb: Run) -> Result<Exit> {
    let task = async |client: &Client| start_and_follow(settings, client, &verb).await;
    with_server(settings, &verb.runner, verb.detach, task).await
}

/// Does something with the server that there is. Without one, one is started for as long as it takes.
pub(super) async fn with_server(
    settings: &Settings,
    runner: &RunnerOptions,
    detach: bool,
    work: impl AsyncFnOnce(&Client) -> Result<Exit>,
) -> Result<Exit> {
    match Client::find(settings).await {
        Ok(client) => return work(&client).await,
        Err(e) if settings.server.is_none() && Exit::of(&e) == Exit::NoServer => {}
        Err(e) => return Err(e),
    }
    if detach {
        bail!(
            Exit::NoServer.error("--detach needs a server that stays: start `windlass up` first")
        );
    }
    settings.make_data_dir()?;
    let options = embedded::Options {
        environment_limits: Default::default(),
        archive_after: Some(windlass_run::environment::ARCHIVE),
        ports: Default::default(),
        listen: "127.0.0.1:0".parse().context("an address")?,
        ssh: None,
        database: None,
        tls: false,
        lease_seconds: None,
        stats_file: None,
        runner: Some(runner.clone()),
        agents_dir: None,
    };
    let embedded = Embedded::start(settings, options).await?;
    let client = embedded.client()?;
    let done = tokio::select! {
        done = work(&client) => done,
        interrupted = embedded.until_interrupted() => interrupted.map(|()| Exit::Cancelled),
    };
    embedded.stop().await?;
    if !settings.json && done.as_ref().is_ok_and(|exit| *exit == Exit::Success) {
        println!("{}", Style::for_stdout().dim("Look at it: windlass up, or windlass review list"));
    }
    done
}

async fn start_and_follow(settings: &Settings, client: &Client, verb: &Run) -> Result<Exit> {
    let named = verb.repo.clone().unwrap_or_else(|| ".".to_owned());
    let project = find_or_add(client, &named).await?;
    let new = NewRun {
        project: project.id.to_string(),
        task: Some(verb.task.clone()),
        steps: Vec::new(),
        title: None,
        base: verb.base.clone(),
        agent: Some(agent(verb)),
        limits: Some(Limits {
            duration: verb.minutes.map(|minutes| minutes * 60),
            tokens: verb.tokens,
        }),
        network: verb.allow.clone(),
        runs_on: verb.runs_on.clone(),
        class: verb.class.clone(),
        pull_request: !verb.no_pull_request,
        plain_environment: verb.plain_environment,
    };
    let started: StartedRun = client.post("/api/v1/runs", &new).await?;
    if verb.detach && settings.json {
        super::print_json(&started)?;
        return Ok(Exit::Success);
    }
    let style = Style::for_stdout();
    if !settings.json {
        println!("{} in {}", style.bold(started.run_id.as_str()), project.name);
        println!("{}", style.dim(&started.url));
        for note in &started.notes {
            println!("note: {}", terminal::harmless(note));
        }
    }
    if verb.detach {
        return Ok(Exit::Success);
    }
    let job_id = started.job_ids.first().context("the run has no job")?;
    follow::to_the_end(settings, client, job_id.as_str()).await
}

fn agent(verb: &Run) -> AgentOptions {
    AgentOptions {
        harness: verb.agent.clone(),
        model: verb.model.clone(),
        mode: verb.mode.map(|mode| match mode {
            arguments::Mode::Ask => Mode::Ask,
            arguments::Mode::Auto => Mode::Auto,
            arguments::Mode::Full => Mode::Full,
        }),
        verify: verb.verify.clone(),
        attempts: verb.attempts,
        replay: verb.replay.clone(),
        timeout: None,
    }
}

/// The project that `named` means: a name that the server knows, or a source that it may learn.
pub(super) async fn find_or_add(client: &Client, named: &str) -> Result<Project> {
    let is_name = !named.contains(['/', ':']) && named != "." && !Path::new(named).exists();
    if is_name {
        return client.get(&format!("/api/v1/projects/{named}")).await;
    }
    let source = match project::parse_source(named, None)? {
        Source::Path { path } => Source::Path { path: top_of(&path) },
        other => other,
    };
    let mut cursor = None;
    loop {
        let query = windlass_wire::api::PageQuery { cursor, limit: Some(200) };
        let page: Page<Project> = client.query("/api/v1/projects", &query).await?;
        if let Some(known) = page.items.into_iter().find(|known| known.source == source) {
            return Ok(known);
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let new =
        NewProject { name: None, source, default_branch: None, token: None, webhook_secret: None };
    client.post("/api/v1/projects", &new).await
}

/// The folder with the repository that holds `path`, so that a task can be given from a subfolder.
fn top_of(path: &str) -> String {
    let start = Path::new(path);
    let top = start.ancestors().find(|folder| folder.join(".git").exists());
    top.and_then(Path::to_str).unwrap_or(path).to_owned()
}
