//! What keeps the project honest: `tidy`, `test`, `bench`, `sim`, `chaos`. Never linked into
//! `windlass`.

#![expect(clippy::print_stdout, reason = "these are commands for a terminal")]

pub mod programs;
pub mod suites;
pub mod tidy;

use std::path::{Path, PathBuf};

/// The workspace's root folder.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}
