//! `windlass event`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `windlass event`
#[derive(Debug, Subcommand)]
pub(crate) enum Event {
    /// List what happened, newest first.
    List(ListEvents),
    /// Show one: what it says, what it descends from, what became of it.
    Show {
        /// Its id.
        event: String,
    },
    /// Say one again: as a new event that triggers look at anew.
    Replay {
        /// Its id.
        event: String,
    },
    /// Read the payload of a webhook as the server would. Needs no server, changes nothing.
    Parse(ParseEvent),
}

/// `windlass event list`
#[derive(Debug, Args)]
pub(crate) struct ListEvents {
    /// Only those from there, in full: github/acme/api, local/billing, webhook/pager.
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// Only those of this family (pull_request) or type (pull_request.opened).
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Only those about this: pull_request/12, refs/heads/main.
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Only those of this project.
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// Only those that were caused by whoever has this name.
    #[arg(long)]
    pub(crate) actor: Option<String>,
    /// Only those of this trust: own, member, known or public.
    #[arg(long)]
    pub(crate) trust: Option<String>,
    /// Only those that were handled, or that wait.
    #[arg(long, value_name = "YES|NO", value_parser = super::yes_or_no)]
    pub(crate) handled: Option<bool>,
    /// Only those that arrived so long ago at most: 90s, 30m, 12h, 7d.
    #[arg(long, value_name = "AGO", value_parser = seconds)]
    pub(crate) since: Option<i64>,
    /// Only those with all of these words in them, the last one as a prefix.
    #[arg(long, value_name = "WORDS")]
    pub(crate) text: Option<String>,
    /// How many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) limit: u32,
    /// Go on where a list ended, with the word that it gave.
    #[arg(long)]
    pub(crate) cursor: Option<String>,
}

/// A span of time in seconds.
fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is no span of time: write 90s, 30m, 12h or 7d");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        Some(_) | None => return Err(wrong()),
    };
    let number = &text[..text.len() - 1];
    let number: i64 = match number.bytes().all(|byte| byte.is_ascii_digit()) {
        true => number.parse().map_err(|_| wrong())?,
        false => return Err(wrong()),
    };
    number.checked_mul(unit).filter(|seconds| *seconds < 1 << 40).ok_or_else(wrong)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        assert_eq!(
            ["90s", "30m", "12h", "7d", "0d"].map(seconds),
            [90, 1_800, 43_200, 604_800, 0].map(Ok)
        );
        for wrong in ["", "s", "7", "-7d", "1.5h", "7 d", "7\u{fc}", "99999999999999999999d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
