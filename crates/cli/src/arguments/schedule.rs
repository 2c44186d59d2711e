//! `windlass schedule`.

use clap::{Args, Subcommand};

/// `windlass schedule`
#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// Print when a cron expression fires next. Needs no server.
    Next(NextFires),
}

/// An expression, and which of its fires are asked for.
#[derive(Debug, Args)]
pub(crate) struct NextFires {
    /// Five fields (minute, hour, day of the month, month, day of the week), six with the second first, or a
    /// name such as @daily.
    #[arg(value_name = "EXPR")]
    pub(crate) expression: String,
    /// The IANA time zone whose clock it is read off, such as Europe/Berlin.
    #[arg(long, default_value = "UTC", value_name = "ZONE")]
    pub(crate) timezone: String,
    /// Fires after this moment, never at it: RFC 3339 with an offset [default: now].
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// How many.
    #[arg(short = 'n', long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) number: u32,
}
