//! The runner: leases jobs, runs their steps in environments, streams what happens, pushes branches,
//! and cleans up after any crash.
//!
//! It makes outbound connections only. What it decides, it decides with the same pure machine as the
//! server ([`windlass_run::job`]); what it reports is on disk before the server has it; what it may
//! write outward, it asks for first. Credentials stay in the memory of the doors.
//!
//! ```text
//! runner ── leases jobs ──► driver ── asks the machine what is next ──► executor ── runs one attempt
//!    │                        │                                            │
//!    ├── environments ── one keeper for each that lives by itself: brings it where it is wanted
//!    └── link: reports, heartbeats, streams, uploads ◄── held: one lease's queue, spooled to journal
//! ```
//!
//! Never done here: deciding what a job may do (`policy`, the server), talking to the kernel
//! (`sandbox`), believing what an agent says about its own success.

pub mod attach;
pub mod definition;
pub mod join;
pub mod options;
pub mod runner;
pub mod stock;
pub mod tls;
pub mod volumes;

mod driver;
mod environments;
mod executor;
mod health;
mod job;
mod null;
mod workshop;

mod client;
mod held;
mod journal;
mod link;
mod stream;

pub use options::{Clock, Options, Provider, Providers};
pub use runner::{Ending, Error, Runner};
pub use windlass_gateway::Secret;

#[cfg(test)]
mod tests;
