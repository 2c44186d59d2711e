//! The control plane: the public API, the runner protocol, the pages, the local forge, sign-in, and
//! the reconcilers. It decides nothing that `run`, `policy` or `forge` decide, holds no SQL, and reads
//! no process environment: everything comes with [`Options`].
//!
//! ```text
//! request ─► listen ─► guard (auth, permission, cross-site) ─► handler ─► actions | views ─► store
//!                                                                           reconcile ─► store, forge, git
//! ```
//!
//! Handlers are thin. What can be done is in [`actions`], what can be seen is in [`views`]; the API and
//! the pages use the same two, so neither can do what the other can't.

pub mod server;

pub mod clock;
pub mod endpoint;
pub mod problem;
pub mod state;

pub mod actions;
pub mod views;

pub mod auth;
pub mod listen;
pub mod secret;

mod api;
mod environments;
mod extract;
mod fleets;
mod git_http;
mod hooks;
mod idempotency;
mod launch;
mod links;
mod local;
mod notices;
mod openapi;
mod pages;
pub mod ports;
mod range;
mod reconcile;
mod remote;
mod router;
mod runner;
mod runners;
mod sse;
mod ssh;
mod triggers;
mod upgrade;
mod ways;

pub use endpoint::{Access, Endpoint};
pub use listen::Tls;
pub use problem::{Code, Problem};
pub use router::{openapi, permission_table};
pub use secret::Secret;
pub use server::{Handle, Options, Server, StartError};
pub use state::AppState;
