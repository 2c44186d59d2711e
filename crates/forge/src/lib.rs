//! Code hosts. [`Forge`] is the narrow interface through which Windlass opens, reads, reviews and
//! merges pull requests; [`hosts`] speaks to hosts over the network; [`local`] holds the rules of
//! the forge that is built in; [`event`] is the one form in which webhooks of all hosts arrive.
//!
//! Nothing here decides who may do what, keeps anything, or reads a clock: times and permissions
//! come from the caller. Text that hosts give back is untrusted.

pub mod address;
pub mod error;
pub mod event;
pub mod forge;
pub mod hosts;
pub mod local;

pub use address::{RepositoryAddress, RepositoryName};
pub use error::{Error, Result};
pub use forge::Forge;
