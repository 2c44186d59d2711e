//! `cargo xtask bench engine`: runs of three no-op steps through the real runner protocol, beside an
//! in-process floor on the same storage.
//!
//! The *floor* calls the store directly: 64 producers start runs, one driver leases and reports them,
//! no HTTP anywhere. It is what the storage and the state machine cost by themselves. The *subject* is
//! `windlass up --no-runner` and `windlass runner --null-executor` as processes of their own, with 64
//! producers over the API. Rounds are interleaved, every round has a fresh database, and what counts is
//! the median of the rounds' ratios.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command for a terminal")]

#[path = "bench_engine/database.rs"]
mod database;
#[path = "bench_engine/floor.rs"]
mod floor;
#[path = "bench_engine/subject.rs"]
mod subject;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser;
use serde::Serialize;

use self::database::Database;

/// Measures the engine beside its floor.
#[derive(Parser)]
struct Arguments {
    /// How many runs in each round.
    #[arg(long, default_value_t = 5_000)]
    runs: usize,
    /// How many producers at once.
    #[arg(long, default_value_t = 64)]
    producers: usize,
    /// How many rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only this database: `sqlite` or `postgres`.
    #[arg(long)]
    only: Option<String>,
    /// Print JSON only.
    #[arg(long)]
    json: bool,
    /// The `windlass` binary to measure.
    #[arg(long)]
    windlass: PathBuf,
}

/// What one side did in one round.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    runs_per_second: f64,
    cpu_us_per_run: f64,
    fsyncs_per_run: f64,
}

/// What is printed for each database.
#[derive(Serialize)]
struct Figures {
    name: String,
    unit: &'static str,
    floor: f64,
    subject: f64,
    ratio: f64,
    rounds: usize,
    cpu_us: f64,
    floor_cpu_us: f64,
    fsyncs_per_run: f64,
    floor_fsyncs_per_run: f64,
    load: String,
}

fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments = Arguments::parse();
    let done = tokio::runtime::Runtime::new()
        .context("failed to start the runtime")
        .and_then(|runtime| runtime.block_on(run(&arguments)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let mut kinds = vec!["sqlite", "postgres"];
    kinds.retain(|kind| arguments.only.as_deref().is_none_or(|only| only == *kind));
    for kind in kinds {
        let Some(database) = Database::start(kind) else { continue };
        let mut rounds = Vec::new();
        for round in 0..arguments.rounds {
            let floor = floor::round(arguments, &database).await?;
            let subject = subject::round(arguments, &database).await?;
            if !arguments.json {
                eprintln!(
                    "{kind} round {}: floor {:.0}, subject {:.0} runs/s",
                    round + 1,
                    floor.runs_per_second,
                    subject.runs_per_second
                );
            }
            rounds.push((floor, subject));
        }
        print(arguments, kind, &rounds)?;
    }
    Ok(())
}

fn print(arguments: &Arguments, kind: &str, rounds: &[(Sample, Sample)]) -> Result<()> {
    let median = |of: &dyn Fn(&(Sample, Sample)) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let figures = Figures {
        name: format!("engine/{kind}"),
        unit: "runs/s",
        floor: median(&|round| round.0.runs_per_second),
        subject: median(&|round| round.1.runs_per_second),
        ratio: median(&|round| round.1.runs_per_second / round.0.runs_per_second),
        rounds: rounds.len(),
        cpu_us: median(&|round| round.1.cpu_us_per_run),
        floor_cpu_us: median(&|round| round.0.cpu_us_per_run),
        fsyncs_per_run: median(&|round| round.1.fsyncs_per_run),
        floor_fsyncs_per_run: median(&|round| round.0.fsyncs_per_run),
        load: fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned(),
    };
    println!("{}", serde_json::to_string(&figures)?);
    if !arguments.json {
        println!(
            "{}: {:.0} of {:.0} runs/s, ratio {:.2}; {:.0} CPU-us and {:.3} fsyncs a run",
            figures.name,
            figures.subject,
            figures.floor,
            figures.ratio,
            figures.cpu_us,
            figures.fsyncs_per_run
        );
    }
    Ok(())
}

/// CPU time of a process so far, in microseconds; the kernel counts it in hundredths of a second.
fn cpu_us(pid: &str) -> u64 {
    stat_fields(pid)
        .iter()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum::<u64>()
        * 10_000
}

/// The same, with that of the children that it waited for.
fn cpu_us_with_reaped(pid: &str) -> u64 {
    stat_fields(pid)
        .iter()
        .skip(11)
        .take(4)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum::<u64>()
        * 10_000
}

/// The process that started this one.
fn parent_of(pid: &str) -> Option<String> {
    stat_fields(pid).get(1).cloned()
}

/// What `/proc/PID/stat` says after the name, which may hold spaces.
fn stat_fields(pid: &str) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    rest.split_whitespace().map(ToOwned::to_owned).collect()
}
