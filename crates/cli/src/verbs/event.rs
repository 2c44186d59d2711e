//! `windlass event`: what happened, as triggers see it.

mod parse;

use anyhow::Result;
use windlass_run::EventId;
use windlass_wire::api::{
    Page,
    event::{Event, EventSummary, EventsQuery},
};

use crate::{
    arguments::{self, ListEvents},
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

pub(crate) fn run(settings: &Settings, verb: arguments::Event) -> Result<Exit> {
    match verb {
        arguments::Event::Parse(asked) => parse::run(settings, &asked),
        arguments::Event::List(asked) => super::wait(list(settings, asked)),
        arguments::Event::Show { event } => super::wait(show(settings, &event)),
        arguments::Event::Replay { event } => super::wait(replay(settings, &event)),
    }
}

async fn list(settings: &Settings, asked: ListEvents) -> Result<Exit> {
    let client = Client::find(settings).await?;
    let now = super::runner::now().as_micros();
    let query = EventsQuery {
        cursor: asked.cursor,
        limit: Some(asked.limit),
        source: asked.source,
        kind: asked.kind,
        subject: asked.subject,
        project: asked.project,
        actor: asked.actor,
        trust: asked.trust,
        handled: asked.handled,
        since: asked.since.map(|seconds| now.saturating_sub(seconds * 1_000_000)),
        text: asked.text,
    };
    let page: Page<EventSummary> = client.query("/api/v1/events", &query).await?;
    if settings.json {
        super::print_json(&page)?;
        return Ok(Exit::Success);
    }
    if page.items.is_empty() {
        println!("Nothing of that kind happened.");
        return Ok(Exit::Success);
    }
    let rows = page.items.iter().map(|event| {
        vec![
            event.id.to_string(),
            terminal::span(now - event.received_at),
            terminal::one_line(&event.kind, 40),
            terminal::one_line(&event.source, 40),
            terminal::one_line(event.subject.as_deref().unwrap_or_default(), 40),
            event.trust.clone(),
            terminal::one_line(event.outcome.as_deref().unwrap_or("waits"), 40),
        ]
    });
    let head = ["event", "ago", "type", "source", "subject", "trust", "outcome"];
    terminal::table(&head, &rows.collect::<Vec<_>>());
    if let Some(next) = page.next {
        let more = format!("more: the same with --cursor {next}");
        println!("{}", Style::for_stdout().dim(&more));
    }
    Ok(Exit::Success)
}

async fn show(settings: &Settings, id: &str) -> Result<Exit> {
    let path = path(id)?;
    let event: Event = Client::find(settings).await?.get(&path).await?;
    print(settings, &event)
}

async fn replay(settings: &Settings, id: &str) -> Result<Exit> {
    let path = format!("{}/replay", path(id)?);
    let event: Event = Client::find(settings).await?.post(&path, &serde_json::json!({})).await?;
    print(settings, &event)
}

fn path(id: &str) -> Result<String> {
    match EventId::parse(id) {
        Ok(id) => Ok(format!("/api/v1/events/{id}")),
        Err(invalid) => Err(Exit::Failure.error(format!("{invalid}: windlass event list"))),
    }
}

fn print(settings: &Settings, event: &Event) -> Result<Exit> {
    if settings.json {
        super::print_json(event)?;
        return Ok(Exit::Success);
    }
    let (style, summary) = (Style::for_stdout(), &event.summary);
    println!("{} {}", style.bold(&terminal::one_line(&summary.kind, 100)), summary.id);
    let line = |name: &str, value: &str| {
        println!("  {}  {}", style.dim(&format!("{name:<9}")), terminal::one_line(value, 200));
    };
    line("source", &summary.source);
    line("delivery", &summary.delivery);
    for (name, value) in [
        ("subject", summary.subject.clone()),
        ("project", summary.project.clone()),
        ("actor", summary.actor.as_ref().map(|actor| actor.name.clone())),
        ("repeats", summary.repeats.as_ref().map(ToString::to_string)),
    ] {
        if let Some(value) = value {
            line(name, &value);
        }
    }
    line("trust", &summary.trust);
    line("outcome", summary.outcome.as_deref().unwrap_or("it waits"));
    for ancestor in &event.ancestry {
        let (run, of) = (&ancestor.run_id, &ancestor.automation);
        line("after", &format!("{run} {of} ({})", ancestor.event_id));
    }
    for firing in &event.firings {
        let run = firing.run_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let (trigger, outcome, reason) = (&firing.trigger, &firing.outcome, &firing.reason);
        line("trigger", &format!("{trigger}: {outcome} {run} {reason}"));
    }
    println!("{}", serde_json::to_string_pretty(&event.data)?);
    Ok(Exit::Success)
}
