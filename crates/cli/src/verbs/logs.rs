//! `windlass logs`: what a job's steps printed.

use anyhow::Result;
use futures::StreamExt as _;
use windlass_wire::api::job::LogPiece;

use super::{find, follow, job};
use crate::{
    arguments::Logs,
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

pub(crate) async fn run(settings: &Settings, logs: Logs) -> Result<Exit> {
    let client = Client::find(settings).await?;
    let job_id = find::job_id(&client, &logs.id).await?;
    let job = job::get(&client, &job_id).await?;
    if logs.follow && logs.step.is_none() {
        return follow::to_the_end(settings, &client, &job_id).await;
    }
    let steps = job.steps.iter().filter(|step| {
        logs.step.as_deref().is_none_or(|wanted| step.id.as_str() == wanted) && step.attempts > 0
    });
    let several = logs.step.is_none();
    for step in steps {
        if several {
            println!("{}", Style::for_stdout().bold(&format!("▸ {}", step.id)));
        }
        let path = format!("/api/v1/jobs/{job_id}/steps/{}/log", step.id);
        if logs.follow {
            let mut pieces = client.follow(&path, None).await?;
            while let Some(piece) = pieces.next().await {
                let piece: LogPiece = serde_json::from_str(&piece?.1)?;
                print!("{}", terminal::harmless(&piece.text));
            }
        } else {
            print!("{}", terminal::harmless(&client.text(&path).await?));
        }
    }
    Ok(Exit::Success)
}
