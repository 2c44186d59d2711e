//! `windlass automation`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::RunnerOptions;

/// `windlass automation`
#[derive(Debug, Subcommand)]
pub(crate) enum Automation {
    /// Read automation files and say everything that is wrong with them. Exits with 8 if one is refused.
    Check(CheckAutomations),
    /// Print the JSON Schema of automation files, for editors.
    Schema,
    /// Run a file by hand, and watch it: one job for each project.
    Run(Box<RunAutomation>),
    /// See what an event would start, without starting anything. Exits with 8 if the file is refused.
    Test(TestAutomation),
    /// Ready automations that come with this program: list them, read one, or take it over.
    Library(Library),
}

/// `windlass automation library`
#[derive(Debug, Args)]
pub(crate) struct Library {
    /// What is done; without it, all are listed.
    #[command(subcommand)]
    pub(crate) verb: Option<LibraryVerb>,
}

/// What is done with the library.
#[derive(Debug, Subcommand)]
pub(crate) enum LibraryVerb {
    /// Print what an automation is for, and its file.
    Show {
        /// Its name.
        name: String,
    },
    /// Write an automation's file into a folder, to be adapted and committed.
    Add {
        /// Its name.
        name: String,
        /// The folder.
        #[arg(long, value_name = "DIR", default_value = ".windlass/automations")]
        dir: PathBuf,
        /// Write over a file of that name.
        #[arg(long)]
        force: bool,
    },
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

/// What is run, with what, and where.
#[derive(Debug, Args)]
pub(crate) struct RunAutomation {
    /// The automation's file. Files beside it are found by calls.
    pub(crate) file: PathBuf,
    /// An input. Values of inputs that are no strings are read as JSON.
    #[arg(long = "input", value_name = "NAME=VALUE")]
    pub(crate) inputs: Vec<String>,
    /// A project to work on: its name, a folder or an address. Can be given more than once [default: those
    /// that the file lists, or else the repository here].
    #[arg(long = "repo", value_name = "REPO")]
    pub(crate) repositories: Vec<String>,
    /// Start it and return. Needs a server that stays.
    #[arg(long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) runner: RunnerOptions,
}
