//! `windlass volume`: what environments of a project leave to each other.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `windlass volume`
#[derive(Debug, Subcommand)]
pub(crate) enum Volume {
    /// List the volumes that a runner of this machine keeps, with their sizes.
    List {
        /// The runner's folder [default: the one in the data folder].
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
    /// Remove a project's volume, or all of them. Environments that run keep their copies.
    Remove(RemoveVolume),
}

/// Which volume goes.
#[derive(Debug, Args)]
pub(crate) struct RemoveVolume {
    /// The project's name or id.
    #[arg(value_name = "PROJECT")]
    pub(crate) project: String,
    /// The volume's name.
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) name: Option<String>,
    /// All volumes of the project.
    #[arg(long)]
    pub(crate) all: bool,
    /// The runner's folder [default: the one in the data folder].
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}
