//! Images from a registry and from archives, what goes wrong with them, and environments made from them.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    unreachable_pub,
    reason = "helpers of tests may panic, and tests may read the process environment"
)]

#[path = "image/archive.rs"]
mod archive;
#[path = "image/environments.rs"]
mod environments;
#[path = "image/making.rs"]
mod making;
#[path = "image/pull.rs"]
mod pull;
#[path = "../../sandbox/tests/conformance/suite.rs"]
mod suite;

use std::path::Path;

use windlass_image::{Options, Store};

/// A store in a folder, for which this registry was named by the operator.
fn store(folder: &Path, registry: Option<&str>) -> Store {
    Store::open(options(folder, registry)).unwrap()
}

fn options(folder: &Path, registry: Option<&str>) -> Options {
    Options {
        folder: folder.join("images"),
        limit_bytes: 64 << 20,
        registries: registry.into_iter().map(str::to_owned).collect(),
        certificates: Vec::new(),
    }
}

/// Every file of a store that is not a folder of its skeleton.
fn listed(folder: &Path, below: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("images").join(below)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A layer with these files.
fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Says loudly that a test could not be run; fails instead where everything must be.
fn skip(test: &str, why: &str) {
    assert!(!windlass_testkit::must_run_all(), "{test}: {why}");
    eprintln!("SKIPPED {test}: {why}");
}
