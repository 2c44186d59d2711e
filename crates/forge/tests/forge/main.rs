//! Forges through their public interface: the local rules, and GitHub against its model.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod github;
mod local;
mod told;
mod webhooks;
