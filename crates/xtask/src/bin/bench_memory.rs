//! `cargo xtask bench memory`: what an idle environment costs beyond `bwrap ... sleep`.
//!
//! Counted by what the machine has available before and after, kernel memory included, since most of an
//! environment is namespaces and mounts. Both sides have an empty work tree each: what a project's files
//! take is their own.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command for a terminal")]

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Parser;
use windlass_sandbox::{Client, EnvironmentId, Exec, OperationId, Plan};

/// Measures the memory of idle environments beside bubblewrap.
#[derive(Parser)]
struct Arguments {
    /// How many environments at once.
    #[arg(long, default_value_t = 500)]
    environments: usize,
    /// How many rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
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
    let folder = tempfile::Builder::new().prefix("windlass-bench-").tempdir_in("/dev/shm")?;
    let state = folder.path().join("environments");
    fs::create_dir(&state)?;
    let windlass = arguments.windlass.canonicalize().context("there is no such binary")?;
    let argv: [OsString; 4] =
        [windlass.into(), "supervisor".into(), "--state-dir".into(), state.clone().into()];
    let client = Client::spawn_or_connect(&state, &argv)?;
    let n = arguments.environments;
    let (mut floors, mut subjects, mut took) = (Vec::new(), Vec::new(), Duration::ZERO);
    for round in 0..=arguments.rounds {
        let floor = bubblewrap(n)?;
        let (subject, created) = environments(&client, folder.path(), n, round)?;
        // The first of each side fills caches.
        if round > 0 {
            floors.push(floor);
            subjects.push(subject);
            took = created;
        }
    }
    client.shutdown().block()?;
    let (floor, subject) = (median(&mut floors), median(&mut subjects));
    println!(
        "{}",
        serde_json::json!({
            "name": "memory", "unit": "kB", "floor": floor, "subject": subject,
            "ratio": subject / floor.max(1.0), "beyond": subject - floor, "environments": n,
            "rounds": arguments.rounds, "created_ms": took.as_millis(), "cpu_us": null,
            "load": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
        })
    );
    if !arguments.json {
        println!(
            "{n} idle environments: {subject:.0} kB each, {:.0} kB beyond bwrap's {floor:.0} kB (aim: at most 400); \
             all of them were there after {} ms",
            subject - floor,
            took.as_millis()
        );
    }
    Ok(())
}

/// Kilobytes for each of `n`, with one program run and gone in each; and how long making them took.
fn environments(client: &Client, folder: &Path, n: usize, round: usize) -> Result<(f64, Duration)> {
    let trees: Vec<PathBuf> = (0..n).map(|i| folder.join(format!("tree-{round}-{i}"))).collect();
    for tree in &trees {
        fs::create_dir(tree)?;
    }
    let before = available()?;
    let began = Instant::now();
    let ids = (0..n)
        .map(|i| EnvironmentId::parse(&format!("idle-{round}-{i}")))
        .collect::<windlass_sandbox::Result<Vec<_>>>()?;
    let asked: Vec<_> = ids
        .iter()
        .zip(&trees)
        .map(|(id, tree)| client.create(&Plan::new(id.clone(), tree, "/workspace/idle")))
        .collect();
    let created = asked
        .into_iter()
        .map(|pending| pending.block())
        .collect::<windlass_sandbox::Result<Vec<_>>>()?;
    let took = began.elapsed();
    let operation = OperationId::parse("true")?;
    for id in &ids {
        client.exec(id, &Exec::capture(operation.clone(), ["/bin/true"])).block()?;
        client.wait(id, &operation).block()?;
        client.forget(id, &operation).block()?;
    }
    let used = before.saturating_sub(available()?);
    drop(created);
    let gone: Vec<_> = ids.iter().map(|id| client.destroy(id)).collect();
    for pending in gone {
        pending.block()?;
    }
    for tree in &trees {
        windlass_sandbox::remove_folder(tree)?;
    }
    Ok((used as f64 / n as f64, took))
}

/// The same for `bwrap ... sleep`.
fn bubblewrap(n: usize) -> Result<f64> {
    let before = available()?;
    let mut children: Vec<Child> = Vec::new();
    for _ in 0..n {
        let child = Command::new("bwrap")
            .args(["--unshare-all", "--die-with-parent", "--ro-bind", "/", "/"])
            .args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"])
            // It says when it is there, and then waits.
            .args(["sh", "-c", "echo; exec sleep 600"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("bubblewrap is the floor: apt-get install bubblewrap")?;
        children.push(child);
    }
    for child in &mut children {
        let mut line = [0];
        let output = child.stdout.as_mut().context("a pipe")?;
        std::io::Read::read_exact(output, &mut line).context("bwrap didn't start its program")?;
    }
    let used = before.saturating_sub(available()?);
    for child in &mut children {
        child.kill()?;
    }
    for child in &mut children {
        child.wait()?;
    }
    Ok(used as f64 / n as f64)
}

/// Kilobytes that the machine could give.
fn available() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let number = line.and_then(|line| line.trim().strip_suffix("kB"));
    number.and_then(|number| number.trim().parse().ok()).context("/proc/meminfo doesn't tell")
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
