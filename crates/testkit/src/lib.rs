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
