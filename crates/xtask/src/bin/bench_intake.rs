//! `cargo xtask bench intake`: signed webhooks with unique ids, each durable before it is answered, beside a
//! handler that answers `hello` to the same requests.
//!
//! The *floor* is hyper in a process of its own, which reads the body and answers: what HTTP itself costs
//! here. The *subject* is `windlass up` with a thousand projects, a hook for each, and twenty automations for
//! each: five that wait for its hook with a filter that does not hold, fifteen that wait for other things.
//! Both get the same requests over the same number of connections; rounds are interleaved, and what counts is
//! the median of the rounds' ratios. At the end every accepted delivery must be there once, and handled.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command for a terminal")]

#[path = "bench_intake/floor.rs"]
mod floor;
#[path = "bench_intake/load.rs"]
mod load;
#[path = "bench_intake/subject.rs"]
mod subject;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;

/// Measures the intake of webhooks beside a hello-world handler.
#[derive(Clone, Parser)]
pub(crate) struct Arguments {
    /// How many connections at once.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// How many projects.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) projects: usize,
    /// How many automations for each.
    #[arg(long, default_value_t = 20)]
    pub(crate) automations: usize,
    /// How many rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each side is measured in each round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Print JSON only.
    #[arg(long)]
    json: bool,
    /// The `windlass` binary to measure.
    #[arg(long, required_unless_present = "hello")]
    pub(crate) windlass: Option<PathBuf>,
    /// Be the floor: print the address and answer.
    #[arg(long, hide = true)]
    hello: bool,
}

fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let arguments = Arguments::parse();
    let work = async {
        match arguments.hello {
            true => floor::serve().await,
            false => run(&arguments).await,
        }
    };
    match runtime.context("failed to start the runtime").and_then(|runtime| runtime.block_on(work))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let floor = floor::Floor::start()?;
    let subject = subject::Subject::start(arguments).await?;
    let time = Duration::from_secs(arguments.seconds);
    let (mut floors, mut subjects, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut accepted = 0;
    for round in 0..=arguments.rounds {
        let hello = load::run(&floor.places(), arguments.connections, time, round).await?;
        let taken = load::run(subject.places(), arguments.connections, time, round).await?;
        accepted += taken.answered;
        subject.wait_until_handled().await?;
        // The first round is for what is loaded once.
        if round > 0 {
            ratios.push(taken.per_second() / hello.per_second());
            floors.push(hello.per_second());
            subjects.push(taken.per_second());
        }
    }
    let kept = subject.close_and_count().await?;
    anyhow::ensure!(kept == accepted, "{accepted} were accepted and {kept} are kept");
    let (floor, subject, ratio) = (median(floors), median(subjects), median(ratios));
    println!(
        "{}",
        serde_json::json!({
            "name": "intake", "unit": "deliveries/s", "floor": floor, "subject": subject,
            "ratio": ratio, "rounds": arguments.rounds, "cpu_us": null,
            "load": std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
        })
    );
    if !arguments.json {
        println!(
            "{subject:.0} signed deliveries a second, durable, beside {floor:.0} hellos, over {} \
             connections with {} automations: ratio {ratio:.2} (aim: at least 0.20). {kept} accepted, \
             each kept once.",
            arguments.connections,
            arguments.projects * arguments.automations
        );
    }
    Ok(())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}
