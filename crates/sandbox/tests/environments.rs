//! Environments as a caller sees them: a real supervisor process, real environments, attacks from
//! inside. Nothing here looks into the crate.
//!
//! When run by root everything is run once more as an ordinary user.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "helpers of tests may panic, and tests may read the process environment"
)]

#[path = "environments/doors.rs"]
mod doors;
#[path = "environments/ends.rs"]
mod ends;
#[path = "environments/isolation.rs"]
mod isolation;
#[path = "environments/layers.rs"]
mod layers;
#[path = "environments/operations.rs"]
mod operations;
#[path = "environments/support.rs"]
mod support;
#[path = "environments/work_tree.rs"]
mod work_tree;

use std::{
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
};

/// An id that belongs to nobody on usual systems.
const ORDINARY: u32 = 64_123;

#[test]
fn all_of_this_also_holds_for_an_ordinary_user() {
    if !support::is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let tests = folder.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    let tool = folder.path().join("tool");
    std::fs::copy(support::tool(), &tool).unwrap();
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    std::os::unix::fs::chown(&temporary, Some(ORDINARY), Some(ORDINARY)).unwrap();
    let output = Command::new(tests)
        .args(["--skip", "all_of_this_also_holds", "--test-threads", "2"])
        .env(support::TOOL, tool)
        .env("TMPDIR", &temporary)
        .env("HOME", &temporary)
        .env_remove("WINDLASS_TEST_ALL")
        .current_dir(&temporary)
        .uid(ORDINARY)
        .gid(ORDINARY)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
}
