//! What GitHub publishes about itself, from npm at the time of a test: nothing of it is kept here.
//! Without npm or a registry the test says loudly that it was skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One file of a package, such as `@octokit/openapi@23.0.2`, kept in `dir` between runs. `None` if
/// it cannot be had; the test then returns, unless all tests must run.
pub fn file(test: &str, package: &str, member: &str, dir: &Path) -> Option<PathBuf> {
    let place = dir.join(plain(package)).join(plain(member));
    if !place.is_file() {
        let fetched = fetch_file(package, member, dir, &place);
        if let Err(why) = fetched {
            skipped(test, package, &why);
            return None;
        }
    }
    Some(place)
}

/// A directory in which these packages are installed with what they need, kept in `dir` between
/// runs. `None` as for [`file`].
pub fn installed(test: &str, packages: &[&str], dir: &Path) -> Option<PathBuf> {
    let place = dir.join(plain(&packages.join("+")));
    if !place.is_dir() {
        let fetched = scratch(dir).and_then(|scratch| {
            let mut npm = npm();
            npm.arg("install")
                .arg("--ignore-scripts")
                .arg("--prefix")
                .arg(scratch.path())
                .args(packages);
            run(npm)?;
            keep(scratch.path(), &place)
        });
        if let Err(why) = fetched {
            skipped(test, &packages.join(" "), &why);
            return None;
        }
    }
    Some(place)
}

fn fetch_file(package: &str, member: &str, dir: &Path, place: &Path) -> Result<(), String> {
    let scratch = scratch(dir)?;
    let mut npm = npm();
    npm.arg("pack").arg("--pack-destination").arg(scratch.path()).arg(package);
    run(npm)?;
    let entries = std::fs::read_dir(scratch.path()).map_err(|error| error.to_string())?;
    let is_archive = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "tgz");
    let archive = entries
        .flatten()
        .map(|entry| entry.path())
        .find(is_archive)
        .ok_or("npm gave no archive")?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&archive).arg("-C").arg(scratch.path()).arg(member);
    run(tar)?;
    let parent = place.parent().ok_or("no place to keep it")?;
    std::fs::create_dir_all(parent).map_err(|error| error.to_string())?;
    keep(&scratch.path().join(member), place)
}

/// Moves into place at once, so that two tests at a time do not see half of it.
fn keep(from: &Path, place: &Path) -> Result<(), String> {
    match std::fs::rename(from, place) {
        Err(error) if !place.exists() => Err(error.to_string()),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn scratch(dir: &Path) -> Result<tempfile::TempDir, String> {
    std::fs::create_dir_all(dir).map_err(|error| error.to_string())?;
    tempfile::tempdir_in(dir).map_err(|error| error.to_string())
}

fn npm() -> Command {
    let mut npm = Command::new("npm");
    npm.args(["--silent", "--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=1"]);
    npm
}

fn run(mut command: Command) -> Result<(), String> {
    let output =
        command.stdin(std::process::Stdio::null()).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr)
            .lines()
            .last()
            .unwrap_or("it failed")
            .to_owned()),
    }
}

fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn skipped(test: &str, package: &str, why: &str) {
    eprintln!("SKIPPED {test}: needs {package}: install npm and let it reach its registry ({why})");
    assert!(!crate::must_run_all(), "{test} must not be skipped");
}
