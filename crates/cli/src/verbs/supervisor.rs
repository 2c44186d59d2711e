//! `windlass supervisor`: owns this host's environments. One thread, nothing else set up.

use anyhow::{Context as _, Result};
use windlass_sandbox::supervisor::{self, Options};

use crate::{arguments::Supervisor, exit::Exit};

pub(crate) fn run(verb: Supervisor) -> Result<Exit> {
    supervisor::serve(&Options::new(verb.state_dir)).context("the supervisor ended")?;
    Ok(Exit::Success)
}
