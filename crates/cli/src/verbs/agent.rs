//! `windlass agent`: the built-in agent, on standard input and output. Runs inside an environment.

use anyhow::{Context as _, Result};
use windlass_agent::builtin::{self, Options};

use crate::exit::Exit;

pub(crate) async fn run() -> Result<Exit> {
    let options = Options::read(|name| std::env::var(name).ok())
        .context("the built-in agent is started by a runner, inside an environment")?;
    builtin::serve(tokio::io::stdin(), tokio::io::stdout(), options)
        .await
        .context("the agent ended")?;
    Ok(Exit::Success)
}
