//! `windlass automation test FILE --last N`: what a file would have started of the last events of a server.

use std::path::Path;

use anyhow::Result;
use windlass_wire::api::automation::{AutomationFile, RehearseAutomation, RehearsedAutomation};

use crate::{
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

pub(super) async fn run(settings: &Settings, file: &Path, text: String, last: u32) -> Result<Exit> {
    let client = Client::find(settings).await?;
    let file = AutomationFile { name: file.display().to_string(), text };
    let asked = RehearseAutomation { file, last };
    let said: RehearsedAutomation = client.post("/api/v1/automations/rehearse", &asked).await?;
    if settings.json {
        super::super::print_json(&said)?;
        return Ok(Exit::Success);
    }
    let style = Style::for_stdout();
    let now = super::super::runner::now().as_micros();
    if said.and_more {
        println!("{}", style.dim("Only the newest of those that a trigger waits for:"));
    }
    for event in &said.events {
        let subject = event.subject.as_deref().unwrap_or_default();
        let head = format!("{} {} {subject}", event.kind, event.source);
        let when = format!("{} ago  {}", terminal::span(now - event.received_at), event.id);
        println!("{}  {}", style.bold(&terminal::one_line(&head, 100)), style.dim(&when));
        for trigger in &event.triggers {
            let what = match (&trigger.why, &trigger.inputs) {
                (Some(why), _) => terminal::one_line(why, 400),
                (None, inputs) => {
                    let inputs = inputs.as_ref().map(ToString::to_string).unwrap_or_default();
                    format!("starts a run with {}", terminal::one_line(&inputs, 200))
                }
            };
            println!("  {}: {what}", trigger.kind);
        }
    }
    println!(
        "{} of the last {} events would have started a run of {}.",
        said.starts,
        said.looked_at,
        style.bold(&said.automation)
    );
    Ok(Exit::Success)
}
