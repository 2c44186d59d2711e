//! Watching a job: what its steps do, as it happens, until it ends.

use std::time::Duration;

use anyhow::Result;
use futures::StreamExt as _;
use windlass_wire::{
    api::job::{Job, JobEvent},
    session::{self, Event, ToolStatus},
};

use super::job;
use crate::{
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

/// Shows a job until it has ended. With `--json`, prints it once then.
pub(crate) async fn to_the_end(settings: &Settings, client: &Client, job_id: &str) -> Result<Exit> {
    let mut last = None;
    let mut breaks = 0;
    loop {
        match watch(settings, client, job_id, &mut last).await {
            Ok(()) => break,
            // The server may have restarted: everything is in its journal, so look again.
            Err(e) if breaks < 20 => {
                tracing::debug!("looking again: {e:#}");
                breaks += 1;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(e) => return Err(e),
        }
    }
    let job = job::get(client, job_id).await?;
    if settings.json {
        super::print_json(&job)?;
    } else {
        job::print_end(&job);
    }
    Ok(Exit::of_state(&job.summary.state))
}

/// Waits for a job's end without a word.
pub(crate) async fn silently(client: &Client, job_id: &str) -> Result<()> {
    let path = format!("/api/v1/jobs/{job_id}/events");
    while job::get(client, job_id).await?.summary.end.is_none() {
        let mut events = client.follow(&path, None).await?;
        while let Some(Ok((_, data))) = events.next().await {
            let event: JobEvent = serde_json::from_str(&data)?;
            if event.event["event"] == "ended" {
                break;
            }
        }
    }
    Ok(())
}

async fn watch(
    settings: &Settings,
    client: &Client,
    job_id: &str,
    last: &mut Option<String>,
) -> Result<()> {
    let path = format!("/api/v1/jobs/{job_id}/events");
    let mut events = client.follow(&path, last.as_deref()).await?;
    while let Some(event) = events.next().await {
        let (id, data) = event?;
        let event: JobEvent = serde_json::from_str(&data)?;
        *last = Some(id);
        if !settings.json {
            show(client, job_id, &event).await;
        }
        if event.event["event"] == "ended" {
            return Ok(());
        }
    }
    // The stream ended before the job did.
    let job: Job = job::get(client, job_id).await?;
    anyhow::ensure!(job.summary.end.is_some(), "the stream ended early");
    Ok(())
}

async fn show(client: &Client, job_id: &str, event: &JobEvent) {
    let style = Style::for_stdout();
    let text = |key: &str| event.event[key].as_str().unwrap_or_default();
    match text("event") {
        "leased" => println!("{}", style.dim("a runner has the job")),
        "step_started" => {
            println!("{} {}", style.bold("▸"), style.bold(text("step_id")));
            let (client, job_id) = (client.clone(), job_id.to_owned());
            let step = text("step_id").to_owned();
            let attempt = event.event["attempt"].as_u64().unwrap_or(1);
            tokio::spawn(async move {
                if let Err(e) = output(&client, &job_id, &step, attempt).await {
                    tracing::debug!("the output of {step} broke off: {e:#}");
                }
            });
        }
        "step_retried" => {
            println!("  {} {}", style.state("waiting"), terminal::one_line(text("reason"), 100));
        }
        "step_failed" => {
            println!("  {} {}", style.state("failed"), terminal::harmless(text("reason")));
        }
        "step_succeeded" => println!("  {} {}", style.state("succeeded"), text("step_id")),
        "requeued" => println!("{}", style.dim(&terminal::harmless(text("reason")))),
        "cancel_requested" => println!("{}", style.dim("asked to stop")),
        _ => {}
    }
}

/// Prints a step's session and log as they grow.
async fn output(client: &Client, job_id: &str, step: &str, attempt: u64) -> Result<()> {
    let base = format!("/api/v1/jobs/{job_id}/steps/{step}");
    let session = async {
        let path = format!("{base}/session?attempt={attempt}");
        let mut entries = client.follow(&path, None).await?;
        while let Some(entry) = entries.next().await {
            print_entry(&serde_json::from_str(&entry?.1)?);
        }
        anyhow::Ok(())
    };
    let log = async {
        let path = format!("{base}/log?attempt={attempt}");
        let mut pieces = client.follow(&path, None).await?;
        while let Some(piece) = pieces.next().await {
            let piece: windlass_wire::api::job::LogPiece = serde_json::from_str(&piece?.1)?;
            for line in terminal::harmless(&piece.text).lines() {
                println!("  {line}");
            }
        }
        anyhow::Ok(())
    };
    let (session, log) = tokio::join!(session, log);
    session.and(log)
}

/// Prints one entry of a session: what the platform saw plainly, what the agent said behind a bar.
pub(crate) fn print_entry(entry: &session::Entry) {
    let style = Style::for_stdout();
    match &entry.event {
        Event::Started { agent, scripted, .. } => {
            println!("  {}", style.dim(&format!("agent: {}", terminal::one_line(agent, 60))));
            if *scripted {
                println!("  scripted model session, written by us, no model was called");
            }
        }
        Event::Message { text } => {
            for line in terminal::harmless(text).lines() {
                println!("  {} {line}", style.dim("│"));
            }
        }
        Event::ToolCall { title, .. } => {
            println!("  {} {}", style.dim("•"), terminal::one_line(title, 100));
        }
        Event::ToolUpdate { status: ToolStatus::Failed, output, .. } => {
            let output = output.as_deref().unwrap_or("it failed");
            println!("    {} {}", style.state("failed"), terminal::one_line(output, 90));
        }
        Event::Verify { command, exit_code, .. } => {
            let state = if *exit_code == Some(0) { "succeeded" } else { "failed" };
            println!("  {} verify: {}", style.state(state), terminal::one_line(command, 80));
        }
        Event::Permission { title, decision, reason, .. } => println!(
            "  {} {} ({})",
            style.dim(&format!("{decision:?}").to_lowercase()),
            terminal::one_line(title, 60),
            terminal::one_line(reason, 40)
        ),
        Event::Problem { text } => println!("  {} {}", style.red("!"), terminal::harmless(text)),
        Event::Prompt { .. }
        | Event::Thought { .. }
        | Event::ToolUpdate { .. }
        | Event::Plan { .. }
        | Event::Usage { .. }
        | Event::GaveUp { .. }
        | Event::TurnEnded { .. } => {}
    }
}
