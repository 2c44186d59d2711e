//! Programs that put load on Windlass: built in release, run, their exit passed on.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Runs one that doesn't start `windlass`.
///
/// # Errors
/// If it doesn't build or can't be started.
pub fn plain(program: &str, arguments: &[String]) -> Result<bool> {
    run(program, arguments)
}

/// Builds `windlass` and runs one that measures it.
///
/// # Errors
/// If something doesn't build or can't be started.
pub fn measured(program: &str, arguments: &[String]) -> Result<bool> {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--package", "windlass-cli"])
        .current_dir(crate::root())
        .status()
        .context("failed to start cargo build")?;
    ensure!(built.success(), "windlass doesn't build");
    let windlass = target_dir()?.join("release/windlass");
    let mut all = vec!["--windlass".to_owned(), windlass.to_string_lossy().into_owned()];
    all.extend_from_slice(arguments);
    run(program, &all)
}

fn run(program: &str, arguments: &[String]) -> Result<bool> {
    let selection = ["--package", "windlass-xtask", "--features", "heavy", "--bin", program];
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--release", "--locked"])
        .args(selection)
        .arg("--")
        .args(arguments)
        .current_dir(crate::root())
        .status()
        .context("failed to start cargo run")?;
    Ok(status.success())
}

fn target_dir() -> Result<std::path::PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--locked"])
        .current_dir(crate::root())
        .output()
        .context("failed to start cargo metadata")?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("failed to read cargo metadata")?;
    let folder = metadata["target_directory"].as_str().context("cargo names no target folder")?;
    Ok(folder.into())
}
