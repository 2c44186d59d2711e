//! `cargo xtask bench fleet`: what a fleet costs.
//!
//! - `materialise`: writing and showing targets, beside one durable insert batch of as many rows by Python's
//!   `sqlite3` on the same file system. Then a pause, a go-on and a cancel, each beside the same of a fleet
//!   of a hundred.
//! - `wall`: a fleet of script steps over generated repositories, from asking to its last end, beside `xargs`
//!   with as many at once: the same clone through the same smart HTTP endpoint, the same script in one `bwrap`, one
//!   commit, one bundle. Beside that, the clone by file path.
//!
//! What both sides leave behind stays until the end.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command for a terminal")]

#[path = "bench_fleet/rows.rs"]
mod rows;
#[path = "bench_fleet/wall.rs"]
mod wall;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser;
use serde::Serialize;

/// Measures fleets beside `xargs`, and their rows beside one insert.
#[derive(Parser)]
struct Arguments {
    /// Over how many repositories the fleet goes; 0 leaves it out.
    #[arg(long, default_value_t = 500)]
    repositories: usize,
    /// How many targets are written and shown.
    #[arg(long, default_value_t = 10_000)]
    targets: usize,
    /// How many jobs at once, and how many of the floor's commands.
    #[arg(long, default_value_t = 4)]
    capacity: usize,
    /// How many rounds of the rows.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Where to work: a disk, since the rows wait for one.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Print JSON only.
    #[arg(long)]
    json: bool,
    /// The `windlass` binary that is measured.
    #[arg(long)]
    windlass: PathBuf,
}

#[derive(Serialize)]
struct Measured {
    rows: rows::Rows,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall: Option<wall::Wall>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime
        .context("failed to start the runtime")
        .and_then(|runtime| runtime.block_on(run(&arguments)));
    match done {
        Ok(measured) if arguments.json => {
            println!("{}", serde_json::to_string(&measured).unwrap_or_default());
            ExitCode::SUCCESS
        }
        Ok(measured) => {
            print(&arguments, &measured);
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<Measured> {
    let mut folder = tempfile::Builder::new();
    let folder = folder.prefix("windlass-bench-");
    let folder = match &arguments.folder {
        Some(place) => folder.tempdir_in(place)?,
        None => folder.tempdir()?,
    };
    let rows = rows::measure(folder.path(), arguments.targets, arguments.rounds).await?;
    let wall = match arguments.repositories {
        0 => None,
        n => Some(wall::measure(&arguments.windlass, folder.path(), n, arguments.capacity)?),
    };
    Ok(Measured { rows, wall })
}

fn print(arguments: &Arguments, measured: &Measured) {
    let rows = &measured.rows;
    println!(
        "{} targets: written in {:.3} s, shown in {:.3} s",
        arguments.targets, rows.write_s, rows.show_s
    );
    match rows.floor_s {
        Some(floor) => println!(
            "  one insert of as many rows: {floor:.3} s; aim 3 × that + 0.5 s = {:.3} s, have {:.3} s",
            3.0 * floor + 0.5,
            rows.write_s + rows.show_s
        ),
        None => println!("  SKIPPED the floor: needs python3 with its sqlite3 module"),
    }
    for (name, small, large) in [
        ("pause", rows.pause_s.0, rows.pause_s.1),
        ("go on", rows.resume_s.0, rows.resume_s.1),
        ("cancel", rows.cancel_s.0, rows.cancel_s.1),
    ] {
        println!("  {name}: {:.2} ms of 100 targets, {:.2} ms of all", small * 1e3, large * 1e3);
    }
    let Some(wall) = &measured.wall else { return };
    println!(
        "{} repositories, {} at once: the fleet {:.1} s, xargs {:.1} s by HTTP and {:.1} s by path: {:.2} × its speed",
        arguments.repositories,
        arguments.capacity,
        wall.fleet_s,
        wall.xargs_s,
        wall.xargs_path_s,
        wall.xargs_s / wall.fleet_s
    );
}
