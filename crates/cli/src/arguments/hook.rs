//! `windlass hook`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `windlass hook`
#[derive(Debug, Subcommand)]
pub(crate) enum Hook {
    /// Make one. Its secret is printed once.
    Create(CreateHook),
    /// List them, with what they received last and what they refused since.
    List,
    /// Show one.
    Show {
        /// Its name.
        hook: String,
    },
    /// Give one a new secret, printed once. The one before is taken too for a while.
    Rotate(RotateHook),
    /// Remove one. What it received stays.
    Remove {
        /// Its name.
        hook: String,
    },
}

/// `windlass hook create`
#[derive(Debug, Args)]
pub(crate) struct CreateHook {
    /// Its name: a letter, then a-z, 0-9 and `-`.
    pub(crate) hook: String,
    /// How senders show that they know the secret.
    #[arg(long, value_enum, default_value_t = OfScheme::Standard)]
    pub(crate) scheme: OfScheme,
    /// The project that it is about.
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// How far what it receives may be trusted.
    #[arg(long, value_enum, default_value_t = OfTrust::Member)]
    pub(crate) trust: OfTrust,
    /// A file with the sender's secret, where the sender makes it; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
}

/// `windlass hook rotate`
#[derive(Debug, Args)]
pub(crate) struct RotateHook {
    /// Its name.
    pub(crate) hook: String,
    /// A file with the sender's new secret, where the sender makes it; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// For how many hours the secret before is still taken [default: 24].
    #[arg(long, value_name = "HOURS")]
    pub(crate) keep_hours: Option<u64>,
    /// Make no new secret: take only the newest one from now on.
    #[arg(long, conflicts_with_all = ["secret_file", "keep_hours"])]
    pub(crate) finish: bool,
}

/// How senders show that they know the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OfScheme {
    /// Standard Webhooks: signed with id and time, so that nobody can send it again later.
    Standard,
    /// X-Hub-Signature-256, as GitHub and many others do it.
    Github,
    /// Authorization: Bearer, for senders that can't sign.
    Bearer,
}

/// How far what a hook receives may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OfTrust {
    /// As whoever may write to the repository.
    Member,
    /// As whoever had work accepted before.
    Known,
    /// As anybody.
    Public,
}
