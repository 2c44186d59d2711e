//! `cargo xtask chaos`: random SIGKILLs over the real processes (server, runner, supervisor, agents)
//! while real jobs run, then a count of what was lost, doubled or left behind.
//!
//! Prints `{"kills","jobs","lost","doubled","leaked"}`; anything but zeros in the last three, or a
//! journal that disagrees with its projections, fails.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command for a terminal")]

#[path = "chaos/check.rs"]
mod check;
#[path = "chaos/processes.rs"]
mod processes;
#[path = "chaos/tasks.rs"]
mod tasks;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use self::{processes::World, tasks::Tasks};

/// Kills the real processes at random and counts what was lost.
#[derive(Parser)]
struct Arguments {
    /// How many SIGKILLs.
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// How many jobs at least; more are started while kills are left.
    #[arg(long, default_value_t = 200)]
    jobs: usize,
    /// The seed of the random choices.
    #[arg(long)]
    seed: Option<u64>,
    /// Print JSON only.
    #[arg(long)]
    json: bool,
    /// The `windlass` binary to try.
    #[arg(long)]
    windlass: PathBuf,
    /// Keep the folder with all data and logs.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("error: failed to start the runtime: {e}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<bool> {
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let folder = tempfile::Builder::new().prefix("windlass-chaos-").tempdir()?;
    let root = folder.path().to_owned();
    let say = |text: String| {
        if !arguments.json {
            eprintln!("{text}");
        }
    };
    say(format!("seed {seed}, data in {}", root.display()));
    if arguments.keep {
        let _ = folder.keep();
    }

    let mut world = World::start(&arguments.windlass, &root).await?;
    let mut tasks = Tasks::new(&root)?;
    tasks.add_projects(&mut world).await?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut kills = 0;
    while kills < arguments.kills || tasks.accepted() < arguments.jobs {
        if tasks.unfinished(&world).await < 12 {
            tasks.submit(&world).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(5..400))).await;
        // Spread over the jobs: kills that follow each other too closely keep any job from its end.
        let share = f64::from(kills) / f64::from(arguments.kills.max(1));
        let due = share * arguments.jobs as f64 <= tasks.accepted() as f64;
        if kills < arguments.kills && due && random.random_bool(0.5) {
            if let Some(victim) = world.kill_one(&mut random)? {
                kills += 1;
                say(format!("{kills:>4} {victim:<11} {} jobs accepted", tasks.accepted()));
            }
            world.revive().await?;
        }
    }
    say("no more kills; the jobs may end now".to_owned());
    tasks.wait_for_all(&mut world).await.context("the jobs did not all end")?;
    let verdict = check::all(&mut world, &tasks, &root).await?;
    for finding in &verdict.findings {
        eprintln!("{finding}");
    }
    println!(
        "{}",
        serde_json::json!({
            "kills": kills, "jobs": tasks.accepted(), "lost": verdict.lost,
            "doubled": verdict.doubled, "leaked": verdict.leaked, "seed": seed,
        })
    );
    Ok(verdict.findings.is_empty())
}
