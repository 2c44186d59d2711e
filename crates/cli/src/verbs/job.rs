//! `windlass job`: one job, looked at or stopped.

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use windlass_wire::{
    api::{
        job::{Decide, Job, JobEvent, Step},
        run::Cancel,
    },
    session,
};

use super::{find, follow};
use crate::{
    arguments,
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

pub(crate) async fn run(settings: &Settings, verb: arguments::Job) -> Result<Exit> {
    let client = Client::find(settings).await?;
    match verb {
        arguments::Job::Show { id, follow: true } => {
            let job_id = find::job_id(&client, &id).await?;
            follow::to_the_end(settings, &client, &job_id).await
        }
        arguments::Job::Show { id, follow: false } => {
            let job = get(&client, &find::job_id(&client, &id).await?).await?;
            if settings.json {
                super::print_json(&job)?;
            } else {
                print(&job);
            }
            Ok(Exit::Success)
        }
        arguments::Job::Cancel { id, reason } => {
            let job_id = find::job_id(&client, &id).await?;
            let path = format!("/api/v1/jobs/{job_id}/cancel");
            let _: serde_json::Value = client.post(&path, &Cancel { reason }).await?;
            if !settings.json {
                println!("{job_id} was asked to stop");
            }
            Ok(Exit::Success)
        }
        arguments::Job::Approve { id, step, note } => {
            decide(settings, &client, &id, Decide { step, approve: true, note }).await
        }
        arguments::Job::Decline { id, step, note } => {
            decide(settings, &client, &id, Decide { step, approve: false, note }).await
        }
        arguments::Job::Diff { id } => {
            let job_id = find::job_id(&client, &id).await?;
            let patch = client.text(&format!("/api/v1/jobs/{job_id}/diff")).await?;
            print!("{}", terminal::harmless(&patch));
            Ok(Exit::Success)
        }
        arguments::Job::Session { id, step } => session(settings, &client, &id, step).await,
        arguments::Job::Events { id } => events(settings, &client, &id).await,
    }
}

async fn decide(settings: &Settings, client: &Client, id: &str, asked: Decide) -> Result<Exit> {
    let job_id = find::job_id(client, id).await?;
    let job: Job = client.post(&format!("/api/v1/jobs/{job_id}/decide"), &asked).await?;
    if settings.json {
        super::print_json(&job)?;
    } else {
        println!("{job_id} was {}", if asked.approve { "approved" } else { "declined" });
    }
    Ok(Exit::Success)
}

/// Reads a job.
pub(crate) async fn get(client: &Client, job_id: &str) -> Result<Job> {
    client.get(&format!("/api/v1/jobs/{job_id}")).await
}

/// Prints a job for a person.
pub(crate) fn print(job: &Job) {
    let style = Style::for_stdout();
    let summary = &job.summary;
    println!("{}", style.bold(&terminal::one_line(&summary.title, 90)));
    println!("{}  {}  {} → {}", summary.id, style.state(&summary.state), summary.project, job.base);
    if !job.sensitive.is_empty() {
        let names = terminal::one_line(&job.sensitive.join(", "), 90);
        println!("{}: its agent may read {names}", style.bold("sensitive"));
    }
    let rows = job.steps.iter().map(|step| {
        let took = step.started_at.zip(step.ended_at).map(|(from, to)| terminal::span(to - from));
        vec![
            format!("{}{}", "  ".repeat(step.depth as usize), step.id),
            style.state(&step.state),
            took.unwrap_or_default(),
            step.reason.as_deref().map_or_else(
                || terminal::one_line(&step.text, 60),
                |why| terminal::one_line(why, 60),
            ),
        ]
    });
    terminal::table(&["step", "state", "took", ""], &rows.collect::<Vec<_>>());
    job.steps.iter().for_each(|step| print_given(job, step));
    print_end(job);
}

/// Prints what a step gave, says or asks.
fn print_given(job: &Job, step: &Step) {
    let style = Style::for_stdout();
    if let Some(told) = &step.told {
        println!("{}", style.bold(&terminal::one_line(&told.title, 90)));
        told.body.iter().for_each(|body| println!("{}", terminal::harmless(body)));
    }
    for (name, value) in &step.outputs {
        println!("{}.{name} = {}", step.id, terminal::one_line(&value.to_string(), 90));
    }
    let Some(asks) = step.asks.as_ref().filter(|_| step.state == "asked") else { return };
    println!("{} asks the role {}: {}", step.id, asks.by_role, terminal::harmless(&step.text));
    println!("   windlass job approve {} {}", job.summary.id, step.id);
    println!("   windlass job decline {} {}", job.summary.id, step.id);
}

/// Prints how a job ended and what came of it.
pub(crate) fn print_end(job: &Job) {
    let style = Style::for_stdout();
    let Some(end) = &job.summary.end else { return };
    println!("{}  {}", style.state(&end.outcome), terminal::harmless(&end.reason));
    if let Some(give_up) = &end.give_up {
        for tried in &give_up.tried {
            println!("   tried: {}", terminal::one_line(tried, 100));
        }
        println!("   would unblock it: {}", terminal::harmless(&give_up.would_unblock));
    }
    if let Some(change) = &job.summary.pull_request {
        println!("   pull request #{}: {}", change.number, change.url);
    }
    if job.tokens > 0 {
        println!("   {} tokens", job.tokens);
    }
}

async fn session(
    settings: &Settings,
    client: &Client,
    id: &str,
    step: Option<String>,
) -> Result<Exit> {
    let job_id = find::job_id(client, id).await?;
    let job = get(client, &job_id).await?;
    let step = step.or_else(|| {
        job.steps.iter().find(|step| step.kind == "agent").map(|step| step.id.to_string())
    });
    let step = step.context("the job has no agent step")?;
    let path = format!("/api/v1/jobs/{job_id}/steps/{step}/session");
    let page: windlass_wire::api::Page<session::Entry> = client.get(&path).await?;
    for entry in &page.items {
        if settings.json {
            println!("{}", serde_json::to_string(entry)?);
        } else {
            follow::print_entry(entry);
        }
    }
    Ok(Exit::Success)
}

async fn events(settings: &Settings, client: &Client, id: &str) -> Result<Exit> {
    let job_id = find::job_id(client, id).await?;
    let ended = get(client, &job_id).await?.summary.end.is_some();
    let mut stream = client.follow(&format!("/api/v1/jobs/{job_id}/events"), None).await?;
    while let Some(event) = stream.next().await {
        let event: JobEvent = serde_json::from_str(&event?.1)?;
        if settings.json {
            println!("{}", serde_json::to_string(&event)?);
        } else {
            let what = event.event["event"].as_str().unwrap_or("?");
            println!("{:>4}  {:<18} {}", event.seq, what, terminal::one_line(&event.by.name, 30));
        }
        if ended && event.event["event"] == "ended" {
            break;
        }
    }
    Ok(Exit::Success)
}
