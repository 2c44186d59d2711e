//! Watching a fleet: a line that says how it stands, again whenever something has changed.

use std::{io::IsTerminal as _, time::Duration};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use windlass_wire::api::fleet::{Fleet, Operation};

use crate::{
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

/// At least so long between two looks: a fleet changes faster than anybody reads.
const BETWEEN: Duration = Duration::from_millis(200);

/// How a fleet stands, in one line.
pub(super) fn line(fleet: &Fleet) -> String {
    let (summary, counts) = (&fleet.summary, &fleet.summary.counts);
    let mut line = format!(
        "{} {} of {} ended, {} failed, {} running, {} planned",
        summary.state,
        counts.succeeded + counts.skipped + counts.failed,
        counts.targets,
        counts.failed,
        counts.running,
        counts.planned,
    );
    let changes = &summary.changes;
    let all = [
        ("open", changes.open),
        ("sent back", changes.sent_back),
        ("approved", changes.approved),
        ("merged", changes.merged),
        ("closed", changes.closed),
    ];
    let some: Vec<String> = all
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    if !some.is_empty() {
        line.push_str(&format!("; changes: {}", some.join(", ")));
    }
    match (&fleet.hold, &fleet.waits_for) {
        (Some(hold), _) => line.push_str(&format!(" ({})", terminal::one_line(&hold.reason, 100))),
        (None, Some(why)) if counts.planned > 0 => {
            line.push_str(&format!(" ({})", terminal::one_line(why, 100)));
        }
        (None, _) => {}
    }
    line
}

/// Follows a fleet until nothing more happens by itself. Exits as its run does.
pub(crate) async fn to_the_end(settings: &Settings, client: &Client, path: &str) -> Result<Exit> {
    let is_terminal = std::io::stdout().is_terminal() && !settings.json;
    let mut said = String::new();
    let fleet = until(client, path, |fleet| {
        let line = line(fleet);
        if line != said && !settings.json {
            match is_terminal {
                true => print!("\r\x1b[2K{line}"),
                false => println!("{line}"),
            }
            let _ = std::io::Write::flush(&mut std::io::stdout());
            said = line;
        }
        is_over(fleet)
    })
    .await?;
    if is_terminal {
        println!();
    }
    if settings.json {
        super::super::print_json(&fleet)?;
    } else {
        let style = Style::for_stdout();
        for failures in &fleet.failures {
            println!("  {} {}: {}", failures.targets, failures.kind, style.dim(&failures.what));
        }
        println!("{}", style.dim(&fleet.url));
    }
    let counts = &fleet.summary.counts;
    Ok(match fleet.summary.state.as_str() {
        "cancelled" => Exit::Cancelled,
        _ if counts.failed > 0 => Exit::JobFailed,
        _ => Exit::Success,
    })
}

/// Waits until an operation is through.
pub(super) async fn operation(client: &Client, path: &str, number: u32) -> Result<Operation> {
    let find = |fleet: &Fleet| {
        let mut operations = fleet.operations.iter();
        operations.find(|operation| operation.number == number).cloned()
    };
    let is_through = |fleet: &Fleet| find(fleet).is_none_or(|it| it.ended_at.is_some());
    let fleet = until(client, path, is_through).await?;
    find(&fleet).context("the server does not show this operation any more")
}

/// Looks whenever something has changed, until it is so.
async fn until(
    client: &Client,
    path: &str,
    mut is_so: impl FnMut(&Fleet) -> bool,
) -> Result<Fleet> {
    // Opened before the first look: what changes from then on is told.
    let mut changes = client.follow("/api/v1/feed", None).await?;
    loop {
        let fleet: Fleet = client.get(path).await?;
        if is_so(&fleet) {
            return Ok(fleet);
        }
        if changes.next().await.is_none_or(|item| item.is_err()) {
            changes = client.follow("/api/v1/feed", None).await?;
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

fn is_over(fleet: &Fleet) -> bool {
    match fleet.summary.state.as_str() {
        "settled" => true,
        "cancelled" => fleet.summary.counts.running == 0,
        _ => false,
    }
}
