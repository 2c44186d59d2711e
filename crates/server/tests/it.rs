//! The server, driven from outside: HTTP by `reqwest`, git by `git`, on a real SQLite store.

#[path = "it/house.rs"]
mod house;
#[path = "it/scripted_keeper.rs"]
mod scripted_keeper;
#[path = "it/scripted_runner.rs"]
mod scripted_runner;

#[path = "it/accounts.rs"]
mod accounts;
#[path = "browser/flows.rs"]
mod browser;

#[path = "it/bad_input.rs"]
mod bad_input;
#[path = "it/classes.rs"]
mod classes;
#[path = "it/events.rs"]
mod events;
#[path = "it/git_access.rs"]
mod git_access;
#[path = "it/github.rs"]
mod github;
#[path = "it/golden.rs"]
mod golden;
#[path = "it/pages.rs"]
mod pages;
#[path = "it/ports.rs"]
mod ports;
#[path = "it/prebuilds.rs"]
mod prebuilds;
#[path = "it/review.rs"]
mod review;
#[path = "it/runner_protocol.rs"]
mod runner_protocol;
#[path = "it/runners.rs"]
mod runners;
#[path = "it/secrets.rs"]
mod secrets;
#[path = "it/sources.rs"]
mod sources;
#[path = "it/streams.rs"]
mod streams;
#[path = "it/triggers.rs"]
mod triggers;
#[path = "it/whole_path.rs"]
mod whole_path;
