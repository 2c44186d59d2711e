//! `windlass version`: this binary's, and the server's if one answers.

use anyhow::Result;
use windlass_wire::api::system::Version;

use crate::{client::Client, exit::Exit, settings::Settings};

pub(crate) async fn run(settings: &Settings) -> Result<Exit> {
    let ours = env!("CARGO_PKG_VERSION");
    let server: Option<Version> = match Client::find(settings).await {
        Ok(client) => client.get("/api/v1/version").await.ok(),
        Err(_) => None,
    };
    if settings.json {
        super::print_json(&serde_json::json!({
            "version": ours,
            "server": server.map(|server| server.version),
            "runner_protocol": windlass_wire::runner::PROTOCOL,
        }))?;
        return Ok(Exit::Success);
    }
    println!("windlass {ours}");
    if let Some(server) = server {
        println!("server   {}", server.version);
    }
    Ok(Exit::Success)
}
