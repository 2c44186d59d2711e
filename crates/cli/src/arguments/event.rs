//! `windlass event`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `windlass event`
#[derive(Debug, Subcommand)]
pub(crate) enum Event {
    /// Read the payload of a webhook as the server would. Needs no server, changes nothing.
    Parse(ParseEvent),
}

/// `windlass event parse`
#[derive(Debug, Args)]
pub(crate) struct ParseEvent {
    /// Which code host sent it.
    #[arg(long, value_enum)]
    pub(crate) forge: OfForge,
    /// The host's name of the event, as in the header X-GitHub-Event: push, pull_request, ...
    #[arg(long, value_name = "NAME")]
    pub(crate) event: String,
    /// The payload, a JSON file; `-` reads standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// A code host that sends webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OfForge {
    /// GitHub.
    Github,
}
