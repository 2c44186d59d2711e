//! The suite that every backend must pass, on the backend `process`: as root, and as an ordinary user.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    unreachable_pub,
    reason = "helpers of tests may panic, and tests may read the process environment"
)]

#[path = "conformance/bubblewrap.rs"]
mod bubblewrap;
#[path = "conformance/cycles.rs"]
mod cycles;
#[path = "conformance/process.rs"]
mod process;
#[path = "conformance/suite.rs"]
mod suite;

use std::{
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
};

/// An id that belongs to nobody on usual systems.
const ORDINARY: u32 = 64_124;

/// Shows that the suite asks for nothing that only our own code does.
#[test]
fn the_suite_holds_on_plain_bubblewrap() {
    match bubblewrap::BubblewrapStage::new() {
        Some(stage) => suite::run(&stage),
        None => {
            let needs = "the_suite_holds_on_plain_bubblewrap: needs bwrap and its namespaces: apt-get install bubblewrap";
            assert!(std::env::var_os("WINDLASS_TEST_ALL").is_none(), "{needs}");
            eprintln!("SKIPPED {needs}");
        }
    }
}

#[test]
fn process_is_a_backend() {
    let stage = process::ProcessStage::new();
    suite::run(&stage);
}

#[test]
fn process_is_a_backend_for_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let tests = folder.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    let tool = folder.path().join("tool");
    std::fs::copy(process::tool(), &tool).unwrap();
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    std::os::unix::fs::chown(&temporary, Some(ORDINARY), Some(ORDINARY)).unwrap();
    let output = Command::new(tests)
        .args(["--exact", "process_is_a_backend", "--nocapture"])
        .env(process::TOOL, tool)
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
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}
