//! `cargo xtask bench start`: from asking for an environment of a repository until its first program has
//! ended, beside other programs' way to the same thing in the same rounds.
//!
//! - `start-warm`: a claim from the pool, beside `bwrap --unshare-all ... true`, which has no work tree,
//!   no doors, no user of its own, no limits and no supervisor.
//! - `start-cold`: the mirror and the prepared tree are there, the environment is not; beside the cheapest
//!   correct check-out of the same commit (tried first) and then bubblewrap around it.
//! - `start-twenty`: twenty of the latter at once, beside `xargs -P20` of the same commands.
//!
//! What is left behind is removed between rounds, off the clock, on both sides.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command for a terminal")]

#[path = "bench_start/floor.rs"]
mod floor;
#[path = "bench_start/subject.rs"]
mod subject;

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Parser;

use self::{floor::Floor, subject::Subject};

/// Measures the start of environments beside bubblewrap.
#[derive(Parser)]
struct Arguments {
    /// How many rounds.
    #[arg(long, default_value_t = 30)]
    rounds: u32,
    /// Print JSON only.
    #[arg(long)]
    json: bool,
    /// Where to work. Compare only runs on the same file system.
    #[arg(long, default_value = "/dev/shm")]
    folder: PathBuf,
    /// How many files the repository has.
    #[arg(long, default_value_t = 1500)]
    files: usize,
    /// The `windlass` binary whose supervisor is measured.
    #[arg(long)]
    windlass: PathBuf,
}

/// How many start at once.
const AT_ONCE: usize = 20;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime
        .context("failed to start the runtime")
        .and_then(|runtime| runtime.block_on(run(&Arguments::parse())));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let folder =
        tempfile::Builder::new().prefix("windlass-bench-").tempdir_in(&arguments.folder)?;
    let windlass = arguments.windlass.canonicalize().context("there is no such binary")?;
    let project = floor::project(folder.path(), arguments.files)?;
    let mut floor = Floor::new(folder.path(), &project)?;
    let subject = Subject::new(folder.path(), &project, &windlass).await?;
    let cheapest = floor.choose()?;
    if !arguments.json {
        println!(
            "{} files on {}; work trees: {}; the floor's check-out: {cheapest}",
            arguments.files,
            arguments.folder.display(),
            subject.copies_by()
        );
    }
    let (mut warm, mut cold, mut twenty) = (Pairs::default(), Pairs::default(), Pairs::default());
    // One of each first: what is loaded once is no part of a start.
    for round in 0..=arguments.rounds {
        let counts = round > 0;
        subject.ready_ahead().await;
        let ours = subject.warm().await?;
        warm.add(counts, floor.bubblewrap()?, ours);
        let ours = subject.cold(1).await?;
        cold.add(counts, floor.cold()?, ours);
        // The large ones in every third round.
        if round % 3 == 0 {
            let ours = subject.cold(AT_ONCE).await?;
            twenty.add(counts, floor.at_once(AT_ONCE)?, ours);
        }
    }
    subject.close().await?;
    warm.print(arguments.json, "start-warm", "claim to first exec", "aim: at most 1.0");
    cold.print(arguments.json, "start-cold", "cached cold start", "aim: at most 1.2");
    twenty.print(
        arguments.json,
        "start-twenty",
        "twenty at once",
        "aim: at most 1.25 (0.8 of the throughput)",
    );
    Ok(())
}

/// Times of both sides, round by round.
#[derive(Default)]
struct Pairs {
    floor: Vec<Duration>,
    subject: Vec<Duration>,
}

impl Pairs {
    fn add(&mut self, counts: bool, floor: Duration, subject: Duration) {
        if counts {
            self.floor.push(floor);
            self.subject.push(subject);
        }
    }

    fn print(&self, json: bool, name: &str, what: &str, aim: &str) {
        let (floor, subject) = (median(&self.floor), median(&self.subject));
        // Both sides of a round met the same machine, two rounds may not have.
        let mut ratios: Vec<f64> = self
            .floor
            .iter()
            .zip(&self.subject)
            .map(|(floor, subject)| subject.as_secs_f64() / floor.as_secs_f64().max(1e-9))
            .collect();
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
        println!(
            "{}",
            serde_json::json!({
                "name": name, "unit": "ms", "floor": floor, "subject": subject, "ratio": ratio,
                "rounds": self.subject.len(), "cpu_us": null,
                "load": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
            })
        );
        if !json {
            println!("{what}: {subject:.2} ms beside {floor:.2} ms, ratio {ratio:.2} ({aim})");
        }
    }
}

fn median(times: &[Duration]) -> f64 {
    let mut millis: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
    millis.sort_by(f64::total_cmp);
    millis.get(millis.len() / 2).copied().unwrap_or_default()
}

/// How long something takes.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}
