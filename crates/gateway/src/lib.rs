//! The doors: the only ways out of an environment. Each door serves one listening socket for one
//! environment, so that the socket itself says who is asking and nothing inside needs a credential.
//! What a door lets through is decided by `policy`; the credentials that it adds on the way out live
//! in its memory and nowhere else.
//!
//! - [`web`]: an HTTP proxy that reaches allowed hosts.
//! - [`model`]: model providers' APIs, metered, with the key added; or a [`replay`]ed session.
//! - [`git`]: one repository on a forge, fetch it all, push only the job's own branches.
//!
//! Nothing here reads the process environment or files, knows runs or steps, or trusts a byte that
//! comes from inside.

pub mod door;
pub mod git;
pub mod model;
pub mod replay;
pub mod secret;
pub mod upstream;
pub mod web;

pub use door::{Door, Limits, Sink};
pub use secret::Secret;
