//! `windlass event parse`: what a payload means, without a server. The id is made of the payload, so the
//! same payload gives the same event; the time is that of the call.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use windlass_forge::{event::Arrival, hosts::github::webhook};
use windlass_run::{EventId, Time, event::Event};

use crate::{
    arguments::{OfForge, ParseEvent},
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

/// The largest payload: no host sends more than 25 MB.
const LIMIT: u64 = 26 << 20;

pub(super) fn run(settings: &Settings, asked: &ParseEvent) -> Result<Exit> {
    let name = if asked.file == Path::new("-") {
        "standard input".to_owned()
    } else {
        asked.file.display().to_string()
    };
    let payload = read(&asked.file).with_context(|| format!("failed to read {name}"))?;
    let OfForge::Github = asked.forge;
    let read = webhook::parse(&asked.event, &payload)
        .with_context(|| format!("failed to understand {name}"))?;
    let digest = Sha256::digest(&payload);
    let bits = u128::from_be_bytes(digest[..16].try_into().context("a digest has 32 bytes")?);
    let host = read.host.name();
    let event = read.envelope(Arrival {
        id: EventId::new(Time::from_micros(0), bits),
        source: read.repository.as_ref().map_or(host.to_owned(), |name| format!("{host}/{name}")),
        delivery: format!("{bits:032x}"),
        at: crate::verbs::runner::now(),
        project_id: None,
    });
    if settings.json {
        crate::verbs::print_json(&event)?;
    } else {
        print(&event);
    }
    Ok(Exit::Success)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let source: Box<dyn Read> = match file == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(file)?),
    };
    let mut payload = Vec::new();
    source.take(LIMIT + 1).read_to_end(&mut payload)?;
    if payload.len() as u64 > LIMIT {
        bail!("it has more than {} MiB: no host sends such a webhook", LIMIT >> 20);
    }
    Ok(payload)
}

fn print(event: &Event) {
    let style = Style::for_stdout();
    println!("{}", style.bold(&event.kind));
    let line = |name: &str, value: &str| {
        println!("  {}  {}", style.dim(&format!("{name:<7}")), terminal::one_line(value, 200));
    };
    line("source", &event.source);
    if let Some(subject) = &event.subject {
        line("subject", subject);
    }
    if let Some(actor) = &event.actor {
        line(
            "actor",
            &if actor.bot { format!("{} (bot)", actor.name) } else { actor.name.clone() },
        );
    }
    line("trust", event.trust.name());
    let inside = ["pull_request", "issue", "release"].into_iter();
    if let Some(title) = inside.filter_map(|part| event.data[part]["title"].as_str()).next() {
        line("title", title);
    }
    for command in ["comment", "review"]
        .iter()
        .flat_map(|part| event.data[*part]["commands"].as_array().into_iter().flatten())
    {
        let text = |key: &str| command[key].as_str().unwrap_or_default().to_owned();
        line("command", &format!("/{} {}", text("word"), text("rest")));
    }
}
