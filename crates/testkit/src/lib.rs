//! Models of the outside for tests: never linked into `windlass`, never reached over any network but
//! loopback.

pub mod acp_agent;
pub mod docker;
pub mod engine;
pub mod github;
pub mod model_server;
pub mod postgres;
pub mod registry;
pub mod sim;

/// True if a test that lacks something must fail instead of being skipped: `WINDLASS_TEST_ALL` is 1.
#[expect(clippy::disallowed_methods, reason = "tests may read the environment")]
pub fn must_run_all() -> bool {
    std::env::var("WINDLASS_TEST_ALL").is_ok_and(|value| value == "1")
}

/// The folders in which programs are looked for.
#[expect(clippy::disallowed_methods, reason = "tests may read the environment")]
fn path_folders() -> Vec<std::path::PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// A program of the workspace beside the running test, built if this build has not made it yet.
///
/// # Errors
/// What cargo could not do.
#[expect(clippy::disallowed_methods, reason = "tests may read the environment")]
pub fn program(package: &str, name: &str) -> Result<std::path::PathBuf, String> {
    let test = std::env::current_exe().map_err(|error| error.to_string())?;
    let profile = test.ancestors().nth(2).ok_or("a test lies in a target directory")?;
    let target = profile.parent().ok_or("a profile lies in a target directory")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.args(["build", "--quiet", "-p", package, "--bin", name]);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let built = command
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .map_err(|error| format!("cargo can't be started: {error}"))?;
    if !built.success() {
        return Err(format!("cargo failed to build {name}"));
    }
    Ok(profile.join(name))
}
