//! `cargo xtask`: the verbs that keep the project honest.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "these are commands for a terminal")]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use windlass_xtask::{
    programs,
    suites::{self, Extent},
    tidy,
};

/// Checks, tests and measures Windlass.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// The rules of the house: crate edges, file headers, names in documents, licences.
    Tidy,
    /// All tests; says what it skipped and how to have it.
    Test {
        /// Formatting and lints too, and a skip is a failure: what continuous integration runs.
        #[arg(long)]
        all: bool,
        /// The full sizes named in the issues: hours, not minutes.
        #[arg(long)]
        soak: bool,
        /// Only test programs whose name (`crate/program`) contains this.
        filter: Option<String>,
    },
    /// Measures one thing beside a floor of the same run: `engine`, `start`, `memory`, `fleet`,
    /// `intake` or `trigger`.
    Bench {
        /// What to measure.
        name: String,
        /// Given to the benchmark as they are (`--json`, `--rounds N`, ...).
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Random SIGKILLs over the real processes; counts what was lost, doubled or left behind.
    Chaos {
        /// Given to it as they are (`--kills N`, `--jobs N`, `--seed S`, `--json`).
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The simulated world: crashes, lost messages and late heartbeats, by seed.
    Sim {
        /// Given to it as they are (`--seeds N`, `--first S`, `--seed S`, `--json`).
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<bool> {
    match verb {
        Verb::Tidy => {
            let findings = tidy::check()?;
            for finding in &findings {
                println!("{finding}");
            }
            println!("{} findings", findings.len());
            Ok(findings.is_empty())
        }
        Verb::Test { all, soak, filter } => {
            let extent = match (all, soak) {
                (_, true) => Extent::Soak,
                (true, false) => Extent::All,
                (false, false) => Extent::Usual,
            };
            if extent != Extent::Usual && filter.is_none() {
                suites::lint()?;
            }
            let tally = suites::run(extent, filter.as_deref())?;
            suites::print(&tally);
            let skips_matter = extent != Extent::Usual && !tally.skipped.is_empty();
            if skips_matter {
                println!("a skip is a failure here: install what the list above names");
            }
            Ok(tally.failed == 0 && !skips_matter)
        }
        Verb::Bench { name, arguments } => match name.as_str() {
            "engine" => programs::measured("windlass-bench-engine", &arguments),
            "start" => programs::measured("windlass-bench-start", &arguments),
            "fleet" => programs::measured("windlass-bench-fleet", &arguments),
            "memory" => programs::measured("windlass-bench-memory", &arguments),
            "intake" => programs::measured("windlass-bench-intake", &arguments),
            "trigger" => programs::measured("windlass-bench-trigger", &arguments),
            _ => anyhow::bail!(
                "there is no benchmark `{name}`: `engine`, `start`, `memory`, `fleet`, `intake` and \
                 `trigger` are there"
            ),
        },
        Verb::Chaos { arguments } => programs::measured("windlass-chaos", &arguments),
        Verb::Sim { arguments } => programs::plain("windlass-sim", &arguments),
    }
}
