//! The model of GitHub against what GitHub publishes about itself: its description of the REST API,
//! and its own client as a peer. Neither is kept here; both come from npm when the test runs.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod contract;
mod peer;
mod project;
