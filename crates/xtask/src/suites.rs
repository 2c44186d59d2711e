//! `cargo xtask test`: builds every test once, runs each test program by itself, prints what each
//! took, and says loudly what was skipped and how to have it.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// The load programs of this crate are built, linted and tested with everything else.
const HEAVY: &str = "windlass-xtask/heavy";

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What this machine has the means for; skips are said.
    Usual,
    /// The same, and a skip is a failure.
    All,
    /// The full sizes named in the issues.
    Soak,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, or programs that ended badly.
    pub failed: u64,
    /// One line for each test that said it was skipped.
    pub skipped: Vec<String>,
    /// One line for each test that runs only in a soak.
    pub left_for_soak: Vec<String>,
}

/// Builds and runs the tests.
///
/// # Errors
/// If something doesn't build or a program can't be started. A failing test is not an error here: it
/// is in the tally.
pub fn run(extent: Extent, filter: Option<&str>) -> Result<Tally> {
    let mut tally = Tally::default();
    let suites = build(filter)?;
    ensure!(!suites.is_empty(), "no test program matches `{}`", filter.unwrap_or(""));
    for suite in &suites {
        suite.run(extent, &mut tally)?;
    }
    if filter.is_none() {
        documentation(&mut tally)?;
    }
    Ok(tally)
}

/// Prints the skips and the closing line.
pub fn print(tally: &Tally) {
    if !tally.skipped.is_empty() {
        println!("\nSkipped, because this machine lacks what they need:");
        for line in &tally.skipped {
            println!("  {line}");
        }
        println!();
    }
    if !tally.left_for_soak.is_empty() {
        println!("Left for `cargo xtask test --soak`: {} tests\n", tally.left_for_soak.len());
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
}

struct Suite {
    name: String,
    program: PathBuf,
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

fn build(filter: Option<&str>) -> Result<Vec<Suite>> {
    let started = Instant::now();
    // The plain binaries come first: tests drive the real `windlass` and the scripted agent.
    let binaries = Command::new(env!("CARGO"))
        .args(["build", "--workspace", "--bins", "--locked", "--features", HEAVY])
        .current_dir(crate::root())
        .status()
        .context("failed to start cargo build")?;
    ensure!(binaries.success(), "the programs don't build");
    let output = Command::new(env!("CARGO"))
        .args(["test", "--workspace", "--no-run", "--locked", "--features", HEAVY])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(crate::root())
        .stderr(Stdio::inherit())
        .output()
        .context("failed to start cargo test")?;
    ensure!(output.status.success(), "the tests don't build");
    let mut suites = Vec::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
        let message: Message = serde_json::from_slice(line).context("failed to read cargo")?;
        let (Some(program), Some(manifest), Some(target), Some(profile)) =
            (message.executable, message.manifest_path, message.target, message.profile)
        else {
            continue;
        };
        if message.reason != "compiler-artifact" || !profile.test {
            continue;
        }
        let folder = manifest.parent().unwrap_or(&manifest).to_owned();
        let crate_name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{crate_name}/{}", target.name);
        if filter.is_none_or(|wanted| name.contains(wanted)) {
            suites.push(Suite { name, program, folder });
        }
    }
    suites.sort_by(|a, b| a.name.cmp(&b.name));
    println!("built {} test programs in {:.0} s", suites.len(), started.elapsed().as_secs_f64());
    Ok(suites)
}

impl Suite {
    fn run(&self, extent: Extent, tally: &mut Tally) -> Result<()> {
        if std::io::stdout().is_terminal() {
            print!("{:<36}", self.name);
            std::io::stdout().flush()?;
        }
        let started = Instant::now();
        let mut command = Command::new(&self.program);
        command.arg("--show-output").current_dir(&self.folder).stdin(Stdio::null());
        if extent != Extent::Usual {
            command.env("WINDLASS_TEST_ALL", "1").env("WINDLASS_TEST_NPM", "1");
        }
        if extent == Extent::Soak {
            command.env("WINDLASS_TEST_SOAK", "1");
        }
        let output = command
            .output()
            .with_context(|| format!("failed to start {}", self.program.display()))?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let (passed, failed) = counts(&text);
        let broken = !output.status.success() && failed == 0;
        tally.passed += passed;
        tally.failed += failed + u64::from(broken);
        let (left_for_soak, skipped): (Vec<_>, Vec<_>) =
            skips(&text).into_iter().partition(|line| line.contains("WINDLASS_TEST_SOAK=1"));
        if !std::io::stdout().is_terminal() {
            print!("{:<36}", self.name);
        }
        println!(
            "{passed:>5} passed {:>3} failed {:>3} skipped {:>8.1} s",
            failed + u64::from(broken),
            skipped.len(),
            started.elapsed().as_secs_f64()
        );
        if !output.status.success() {
            println!("{text}");
            println!("{} ended with {}", self.name, output.status);
        }
        tally.skipped.extend(skipped);
        tally.left_for_soak.extend(left_for_soak);
        Ok(())
    }
}

fn documentation(tally: &mut Tally) -> Result<()> {
    let started = Instant::now();
    let output = Command::new(env!("CARGO"))
        .args(["test", "--workspace", "--doc", "--locked", "--features", HEAVY])
        .current_dir(crate::root())
        .output()
        .context("failed to start cargo test --doc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (passed, failed) = counts(&text);
    tally.passed += passed;
    tally.failed += failed + u64::from(!output.status.success() && failed == 0);
    println!(
        "{:<36}{passed:>5} passed {failed:>3} failed   0 skipped {:>8.1} s",
        "examples in the docs",
        started.elapsed().as_secs_f64()
    );
    if !output.status.success() {
        println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Adds up libtest's `test result:` lines.
fn counts(text: &str) -> (u64, u64) {
    let number_before = |line: &str, word: &str| {
        line.split(';')
            .find_map(|part| {
                part.trim().strip_suffix(word)?.split_whitespace().last()?.parse().ok()
            })
            .unwrap_or(0)
    };
    text.lines().filter(|line| line.starts_with("test result:")).fold((0, 0), |sum, line| {
        (sum.0 + number_before(line, " passed"), sum.1 + number_before(line, " failed"))
    })
}

fn skips(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("SKIPPED "))
        .map(ToOwned::to_owned)
        .collect()
}

/// Formatting and lints, for `--all`: they need the components that `rust-toolchain.toml` names.
///
/// # Errors
/// If one of them finds something.
pub fn lint() -> Result<()> {
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--features",
        HEAVY,
        "--",
        "--deny=warnings",
    ];
    for arguments in [&["fmt", "--all", "--check"][..], &clippy] {
        let started = Instant::now();
        let status = Command::new(env!("CARGO"))
            .args(arguments)
            .current_dir(crate::root())
            .status()
            .with_context(|| format!("failed to start cargo {}", arguments[0]))?;
        if !status.success() {
            bail!("cargo {} found something to mend", arguments[0]);
        }
        println!("cargo {} is content, {:.0} s", arguments[0], started.elapsed().as_secs_f64());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_lines_of_all_programs_are_added_up() {
        let text = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\n\
                    noise\ntest result: FAILED. 2 passed; 4 failed; 0 ignored";
        assert_eq!(counts(text), (5, 4));
    }

    #[test]
    fn a_skip_is_found_wherever_a_test_printed_it() {
        let text = "ok\n  SKIPPED pages: needs chromium: apt-get install chromium\n";
        assert_eq!(skips(text), ["pages: needs chromium: apt-get install chromium"]);
    }
}
