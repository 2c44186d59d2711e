//! The git wrapper against the real git, through its public interface only.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests start a plain git and ask whether a skip is allowed"
)]

mod fixture;

mod bundles;
mod commands;
mod diffs;
mod merges;
mod mirrors;
mod serving;
mod snapshots;
mod sources;
mod transfers;
