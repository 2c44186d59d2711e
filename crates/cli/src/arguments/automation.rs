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
    /// Run a file, or an automation of the server, by hand, and watch it: one job for each project.
    Run(Box<RunAutomation>),
    /// See what an event or those of the past would start, without starting anything. Exits with 8 if the file is refused.
    Test(TestAutomation),
    /// See what applying files would change on the server. Exits with 8 if something would.
    Plan(ApplyAutomations),
    /// Put files in force on the server: all of them, or none.
    Apply(ApplyAutomations),
    /// Put the files of a project in force, and follow its pushes from then on.
    Sync(SyncAutomations),
    /// See where the server has something else in force than the projects that it follows say. Exits with 8 if it
    /// has.
    Drift,
    /// List the automations of the server, and how they go.
    List,
    /// Show an automation: its file, its next starts, its newest runs.
    Show(ShowAutomation),
    /// List the versions of an automation, newest first.
    Versions {
        /// Its name.
        automation: String,
    },
    /// Put an earlier version in force again, as a new one.
    Rollback {
        /// Its name.
        automation: String,
        /// The version, as `windlass automation versions` lists it.
        version: u64,
    },
    /// Keep an automation from starting anything by itself. What runs goes on.
    Pause {
        /// Its name.
        automation: String,
        /// Why, for whoever finds it paused.
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Let a paused automation start by itself again.
    Resume {
        /// Its name.
        automation: String,
    },
    /// Remove an automation. Its versions and runs stay: `rollback` brings it back.
    Remove {
        /// Its name.
        automation: String,
    },
    /// Ready automations that come with this program: list them, read one, or take it over.
    Library(Library),
}

/// Which files are to be in force.
#[derive(Debug, Args)]
pub(crate) struct ApplyAutomations {
    /// Files, or folders of a repository [default: `.windlass/automations` here].
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Remove automations that were applied by hand and are in none of the files.
    #[arg(long)]
    pub(crate) prune: bool,
    /// Refuse if something else would be done than the plan with this digest says.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) expect: Option<String>,
}

/// Which project is followed.
#[derive(Debug, Args)]
pub(crate) struct SyncAutomations {
    /// The project.
    pub(crate) project: String,
    /// Only say what would change. Exits with 8 if something would.
    #[arg(long, conflicts_with = "end")]
    pub(crate) plan: bool,
    /// Follow it no longer. What is in force stays.
    #[arg(long)]
    pub(crate) end: bool,
}

/// Which automation is shown.
#[derive(Debug, Args)]
pub(crate) struct ShowAutomation {
    /// Its name.
    pub(crate) automation: String,
    /// Print its file and nothing else.
    #[arg(long)]
    pub(crate) file: bool,
    /// The file of this version instead of the one in force.
    #[arg(long, value_name = "N", requires = "file")]
    pub(crate) version: Option<u64>,
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
    #[arg(long, value_name = "FILE", required_unless_present = "last")]
    pub(crate) event: Option<PathBuf>,
    /// The last so many events of the server instead of one from a file.
    #[arg(long, value_name = "N", conflicts_with = "event", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) last: Option<u32>,
}

/// What is run, with what, and where.
#[derive(Debug, Args)]
pub(crate) struct RunAutomation {
    /// The automation's file, or the name of one of the server. Files beside it are found by calls.
    #[arg(value_name = "FILE|NAME")]
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
