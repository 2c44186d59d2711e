//! `windlass first-process`: the first process of a container, which owns the environment that the container
//! is. One thread, nothing else set up.

use std::ffi::OsString;

use anyhow::{Context as _, Result};

use crate::exit::Exit;

pub(crate) fn run(arguments: &[OsString]) -> Result<Exit> {
    windlass_sandbox::contained::serve(arguments).context("the container's first process ended")?;
    Ok(Exit::Success)
}
