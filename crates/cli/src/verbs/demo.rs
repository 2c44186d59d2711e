//! `windlass demo`: the whole tour on three small repositories that it makes: task in, agent in an
//! environment, pull request out. The agent, the environments, git and the pull requests are real;
//! the model's answers come from session files that we wrote, unless `--agent` says otherwise.

mod repositories;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use windlass_wire::api::{
    job::Job,
    project::{NewProject, Project, Source},
    pull_request::{Merge, MergeMethod, Merged, Published, PullRequest},
    run::{AgentOptions, NewRun, StartedRun},
};

use self::repositories::{SAMPLES, Sample};
use super::{
    embedded::{self, Embedded},
    follow, job,
};
use crate::{
    arguments::{Demo, RunnerOptions},
    client::Client,
    exit::Exit,
    settings::{self, Settings},
    terminal::{self, Style},
};

/// What the demo prints at its end.
#[derive(Serialize)]
struct Tour {
    changes: Vec<Change>,
}

/// One change that the tour made.
#[derive(Serialize)]
struct Change {
    project: String,
    number: u64,
    state: String,
    /// The commit of the change's head.
    head: String,
    /// The branch of the change, in the repository at `path` too.
    branch: String,
    url: String,
    /// The repository.
    path: PathBuf,
}

pub(crate) async fn run(outer: &Settings, demo: Demo) -> Result<Exit> {
    let folder = match &demo.dir {
        Some(dir) => std::path::absolute(dir)?,
        None => std::env::temp_dir().join(format!("windlass-demo-{:08x}", rand::random::<u32>())),
    };
    settings::make_private(&folder)?;
    let settings =
        Settings { data_dir: folder.join("data"), server: None, token: None, json: outer.json };
    settings.make_data_dir()?;
    let replays = folder.join("sessions");
    repositories::write_sessions(&replays)?;
    let options = embedded::Options {
        environment_limits: Default::default(),
        archive_after: Some(windlass_run::environment::ARCHIVE),
        ports: Default::default(),
        listen: demo.listen,
        ssh: None,
        database: None,
        tls: false,
        lease_seconds: None,
        stats_file: None,
        runner: Some(RunnerOptions {
            replays: Some(replays),
            capacity: 3,
            environments: 2,
            prepared_mib: 1024,
            ..RunnerOptions::default()
        }),
        agents_dir: Some(outer.data_dir.join("agents")),
    };
    let embedded = Embedded::start(&settings, options).await?;
    let done = tour(&settings, &demo, &embedded, &folder).await;
    match done {
        Ok(exit) => {
            if !demo.once {
                embedded.until_interrupted().await?;
            }
            embedded.stop().await?;
            Ok(exit)
        }
        Err(e) => {
            embedded.stop().await?;
            Err(e.context(format!("the demo's data is in {}", folder.display())))
        }
    }
}

async fn tour(
    settings: &Settings,
    demo: &Demo,
    embedded: &Embedded,
    folder: &Path,
) -> Result<Exit> {
    let client = embedded.client()?;
    let style = Style::for_stdout();
    let say = |text: String| {
        if !settings.json {
            println!("{text}");
        }
    };
    if demo.agent.is_none() {
        say("A scripted model session, written by us, answers: no model is called.".to_owned());
        say("The agent, its environments, git and the pull requests are real.".to_owned());
    }
    let mut started = Vec::new();
    for sample in SAMPLES {
        let path = sample.make(&folder.join("repositories")).await?;
        let job_id = start(&client, demo, sample, &path).await?;
        started.push((sample, path, job_id));
    }
    let mut changes = Vec::new();
    for (i, (sample, path, job_id)) in started.into_iter().enumerate() {
        say(format!(
            "\n{} {}",
            style.bold(sample.name),
            style.dim(&terminal::one_line(sample.task, 80))
        ));
        if settings.json {
            follow::silently(&client, &job_id).await?;
        } else {
            follow::to_the_end(settings, &client, &job_id).await?;
        }
        let ended = job::get(&client, &job_id).await?;
        changes.push(change(&client, sample, path, &ended, i == 0).await?);
    }
    if settings.json {
        super::print_json(&Tour { changes })?;
    } else {
        report(&changes, embedded, demo);
    }
    Ok(Exit::Success)
}

async fn start(client: &Client, demo: &Demo, sample: &Sample, path: &Path) -> Result<String> {
    let path = path.to_str().context("the demo's folder must have a UTF-8 name")?.to_owned();
    let new = NewProject {
        name: Some(sample.name.to_owned()),
        source: Source::Path { path },
        default_branch: None,
        token: None,
        webhook_secret: None,
    };
    let project: Project = client.post("/api/v1/projects", &new).await?;
    let scripted = demo.agent.is_none();
    let agent = AgentOptions {
        harness: Some(demo.agent.clone().unwrap_or_else(|| "builtin".to_owned())),
        model: demo.model.clone(),
        verify: vec![sample.verify.to_owned()],
        replay: scripted.then(|| sample.name.to_owned()),
        ..AgentOptions::default()
    };
    let new = NewRun {
        project: project.id.to_string(),
        task: Some(sample.task.to_owned()),
        steps: Vec::new(),
        title: Some(sample.title.to_owned()),
        base: None,
        agent: Some(agent),
        limits: None,
        network: Vec::new(),
        runs_on: Vec::new(),
        class: None,
        pull_request: true,
        plain_environment: false,
    };
    let started: StartedRun = client.post("/api/v1/runs", &new).await?;
    let job_id = started.job_ids.first().context("the run has no job")?;
    Ok(job_id.to_string())
}

/// The change that a job made: merged if `merge` says so, otherwise left for review, and visible as a
/// branch in the repository either way.
async fn change(
    client: &Client,
    sample: &Sample,
    path: PathBuf,
    job: &Job,
    merge: bool,
) -> Result<Change> {
    let Some(link) = &job.summary.pull_request else {
        let reason = job.summary.end.as_ref().map(|end| end.reason.clone()).unwrap_or_default();
        bail!("{} ended without a pull request: {reason}", sample.name);
    };
    let api = format!("/api/v1/projects/{}/pull-requests/{}", sample.name, link.number);
    let body = serde_json::json!({});
    let published: Published = client.post(&format!("{api}/publish"), &body).await?;
    if merge {
        let merge = Merge {
            method: MergeMethod::Merge,
            commit: Some(published.commit.clone()),
            update_source: true,
        };
        let _: Merged = client.post(&format!("{api}/merge"), &merge).await?;
    }
    let pull: PullRequest = client.get(&api).await?;
    Ok(Change {
        project: sample.name.to_owned(),
        number: link.number,
        state: pull.summary.state,
        head: pull.summary.head_commit,
        branch: published.branch,
        url: link.url.clone(),
        path,
    })
}

fn report(changes: &[Change], embedded: &Embedded, demo: &Demo) {
    let style = Style::for_stdout();
    println!();
    let rows = changes.iter().map(|change| {
        vec![
            format!("{}#{}", change.project, change.number),
            style.state(&change.state),
            change.url.clone(),
            change.path.display().to_string(),
        ]
    });
    terminal::table(&["change", "state", "page", "repository"], &rows.collect::<Vec<_>>());
    if !demo.once {
        println!("\nSign in: {}", embedded.sign_in_link());
        println!("{}", style.dim("The link works once. Ctrl-C ends the demo."));
    }
}
