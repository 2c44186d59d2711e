//! `windlass notices`: what is not well and needs somebody.

use anyhow::Result;
use windlass_wire::api::notice::{Notice, NoticesQuery};

use crate::{
    arguments::Notices,
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

pub(crate) async fn run(settings: &Settings, asked: &Notices) -> Result<Exit> {
    let client = Client::find(settings).await?;
    let query = NoticesQuery { all: asked.all.then_some(true) };
    let notices: Vec<Notice> = client.query("/api/v1/health/notices", &query).await?;
    if settings.json {
        super::print_json(&notices)?;
        return Ok(Exit::Success);
    }
    let style = Style::for_stdout();
    let now = super::runner::now().as_micros();
    for notice in &notices {
        let what = format!("{} {}", notice.kind, notice.subject);
        let since = match notice.resolved_at {
            None => format!("for {}", terminal::span(now - notice.since)),
            Some(at) => format!("resolved {} ago", terminal::span(now - at)),
        };
        println!("{}  {}", style.bold(&terminal::one_line(&what, 120)), style.dim(&since));
        println!("  {}", terminal::harmless(&notice.text));
    }
    if notices.is_empty() {
        println!("All is well.");
    }
    Ok(Exit::Success)
}
