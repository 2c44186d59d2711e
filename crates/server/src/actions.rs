//! What can be done: commands that people and programs give, on behalf of a principal that the guard
//! has let through. The API and the pages use the same ones. Each is safe to repeat, or says in its
//! documentation what makes it so.

pub mod accounts;
pub mod automation;
pub mod automations;
pub mod classes;
pub mod environments;
pub mod events;
pub mod files;
pub mod fleets;
pub mod follow_up;
pub mod hooks;
pub mod jobs;
pub mod keys;
pub mod ports;
pub mod projects;
pub mod pull_requests;
pub mod runners;
pub mod runs;
pub mod secrets;
