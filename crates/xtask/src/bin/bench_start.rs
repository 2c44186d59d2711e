//! `cargo xtask bench start`: from asking for an environment until its first program has ended, beside
//! `bwrap --unshare-all ... true` in the same rounds.
//!
//! The floor is another program's way to the same thing: bubblewrap makes the namespaces, mounts the
//! host read-only and runs `true`, with no doors, no own user, no limits and no supervisor.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command for a terminal")]

use std::{ffi::OsString, fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;
use windlass_sandbox::measure::{self, Samples};

/// Measures the start of environments beside bubblewrap.
#[derive(Parser)]
struct Arguments {
    /// How many rounds.
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// Print JSON only.
    #[arg(long)]
    json: bool,
    /// The `windlass` binary whose supervisor is measured.
    #[arg(long)]
    windlass: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("windlass-bench-").tempdir()?;
    let state = folder.path().join("environments");
    fs::create_dir(&state)?;
    let windlass = arguments.windlass.canonicalize().context("there is no such binary")?;
    let argv: [OsString; 4] =
        [windlass.into(), "supervisor".into(), "--state-dir".into(), state.clone().into()];
    let samples = measure::start(&state, &argv, arguments.rounds)?;
    let floor = samples.floor.as_deref().map(median);
    let subject = median(&samples.subject);
    println!(
        "{}",
        serde_json::json!({
            "name": "start", "unit": "ms", "floor": floor, "subject": subject,
            "ratio": floor.map(|floor| subject / floor), "rounds": samples.subject.len(),
            "ready": median(&samples.ready), "cpu_us": null,
            "load": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
        })
    );
    if !arguments.json {
        print(&samples);
    }
    Ok(())
}

fn print(samples: &Samples) {
    println!("{samples}");
    if samples.floor.is_none() {
        println!("install bubblewrap for a floor: apt-get install bubblewrap");
    }
}

fn median(times: &[Duration]) -> f64 {
    let mut millis: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
    millis.sort_by(f64::total_cmp);
    millis.get(millis.len() / 2).copied().unwrap_or_default()
}
