//! `windlass key`.

use std::path::PathBuf;

use clap::Subcommand;

/// `windlass key`
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Add a public key: whoever has its private key goes into your environments.
    Add {
        /// The file with the public key [default: ~/.ssh/id_ed25519.pub].
        file: Option<PathBuf>,
        /// What to call it [default: the key's own comment].
        #[arg(long)]
        name: Option<String>,
    },
    /// List your keys, the oldest first.
    List,
    /// Remove a key of yours; connections that it opened are cut.
    Remove {
        /// Its id.
        id: String,
    },
}
