//! `windlass runs`: what ran, newest first.

use anyhow::Result;
use windlass_wire::api::{
    Page,
    run::{RunSummary, RunsQuery},
};

use crate::{
    arguments::List,
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

pub(crate) async fn run(settings: &Settings, list: List) -> Result<Exit> {
    let client = Client::find(settings).await?;
    let query = RunsQuery { cursor: list.cursor, limit: Some(list.limit), state: list.state };
    let page: Page<RunSummary> = client.query("/api/v1/runs", &query).await?;
    if settings.json {
        super::print_json(&page)?;
        return Ok(Exit::Success);
    }
    if page.items.is_empty() {
        println!("No runs yet. Start one: windlass run \"...\" --repo PATH");
        return Ok(Exit::Success);
    }
    let style = Style::for_stdout();
    let rows = page.items.iter().map(|run| {
        let length = run.ended_at.map(|end| terminal::span(end - run.created_at));
        vec![
            run.id.to_string(),
            style.state(&run.state),
            length.unwrap_or_default(),
            terminal::one_line(&run.title, 70),
        ]
    });
    terminal::table(&["run", "state", "took", "task"], &rows.collect::<Vec<_>>());
    if let Some(next) = page.next {
        println!("{}", style.dim(&format!("more: windlass runs --cursor {next}")));
    }
    Ok(Exit::Success)
}
