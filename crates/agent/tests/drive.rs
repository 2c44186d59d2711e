//! Drives the scripted agent in process: what a step records, how it ends, and what each fault of an
//! agent turns into.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by a panic and skips loudly"
)]

mod drive {
    pub(crate) mod faults;
    pub(crate) mod limits;
    pub(crate) mod stage;
    pub(crate) mod steps;
}
