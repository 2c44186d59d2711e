//! `windlass automation`

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `windlass automation`
#[derive(Debug, Subcommand)]
pub(crate) enum Automation {
    /// Read automation files and say everything that is wrong with them. Exits with 8 if one is refused.
    Check(CheckAutomations),
    /// Print the JSON Schema of automation files, for editors.
    Schema,
    /// See what an event would start, without starting anything. Exits with 8 if the file is refused.
    Test(TestAutomation),
}

/// Which files are checked.
#[derive(Debug, Args)]
pub(crate) struct CheckAutomations {
    /// Files, or folders of a repository [default: `.windlass/automations` here].
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// Which file is tried with what.
#[derive(Debug, Args)]
pub(crate) struct TestAutomation {
    /// The automation's file. Files beside it are found by calls.
    pub(crate) file: PathBuf,
    /// The event, as `windlass event parse --json` prints one; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) event: PathBuf,
}
