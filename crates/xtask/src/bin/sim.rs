//! `cargo xtask sim`: the simulated world over many seeds.
//!
//! Prints `{"seeds","jobs","messages","crashes","effects","lost_leases","broken"}`. A seed that broke a
//! promise fails, and its whole story is told.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command for a terminal")]

use std::{num::NonZero, process::ExitCode, thread::available_parallelism, time::Instant};

use clap::Parser;
use windlass_testkit::sim;

/// How many seeds are run between two lines of progress.
const BATCH: u64 = 500;

/// Runs the simulated world: crashes, lost messages, late heartbeats.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Tell the story of this one seed.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// How many threads; as many as there are processors unless given.
    #[arg(long)]
    threads: Option<usize>,
    /// Print JSON only.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        return tell(seed);
    }
    let threads =
        arguments.threads.unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get));
    let started = Instant::now();
    let (mut seeds, mut total) = (0, sim::Story::default());
    let mut broken = Vec::new();
    while seeds < arguments.seeds && broken.is_empty() {
        let count = BATCH.min(arguments.seeds - seeds);
        let report = sim::run_many(arguments.first + seeds, count, threads);
        seeds += report.seeds;
        total.add(report.total);
        broken = report.broken;
        if !arguments.json {
            let seconds = started.elapsed().as_secs();
            eprintln!(
                "{seeds:>6} seeds, {} jobs, {} crashes, {seconds} s",
                total.jobs, total.crashes
            );
        }
    }
    println!(
        "{}",
        serde_json::json!({
            "seeds": seeds, "jobs": total.jobs, "messages": total.messages,
            "crashes": total.crashes, "effects": total.effects,
            "lost_leases": total.lost_leases,
            "broken": broken.iter().map(|broken| broken.seed).collect::<Vec<_>>(),
        })
    );
    for broken in &broken {
        eprintln!("{broken}; see its story with --seed {}", broken.seed);
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tells all that happened under one seed.
fn tell(seed: u64) -> ExitCode {
    let (story, outcome) = sim::tell(seed);
    for line in story {
        println!("{line}");
    }
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(broken) => {
            eprintln!("{broken}");
            ExitCode::FAILURE
        }
    }
}
