//! The store, from outside, on both databases.

#![expect(clippy::print_stderr, reason = "what is skipped is said loudly")]

#[macro_use]
#[path = "store/support.rs"]
mod support;

#[path = "store/automations.rs"]
mod automations;
#[path = "store/classes.rs"]
mod classes;
#[path = "store/crash.rs"]
mod crash;
#[path = "store/environments.rs"]
mod environments;
#[path = "store/events.rs"]
mod events;
#[path = "store/fleets.rs"]
mod fleets;
#[path = "store/hooks.rs"]
mod hooks;
#[path = "store/identity.rs"]
mod identity;
#[path = "store/jobs.rs"]
mod jobs;
#[path = "store/lists.rs"]
mod lists;
#[path = "store/opening.rs"]
mod opening;
#[path = "store/outside.rs"]
mod outside;
#[path = "store/runners.rs"]
mod runners;
#[path = "store/secrets.rs"]
mod secrets;
#[path = "store/streams.rs"]
mod streams;
#[path = "store/triggers.rs"]
mod triggers;
