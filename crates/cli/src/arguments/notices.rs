//! `windlass notices`

use clap::Args;

/// `windlass notices`
#[derive(Debug, Args)]
pub(crate) struct Notices {
    /// Also those that were resolved.
    #[arg(long)]
    pub(crate) all: bool,
}
