//! The one hermetic git wrapper. Everything that Windlass does with git goes through here, by the
//! `git` command line in a clean environment: no system or user configuration, no hooks, no
//! prompts, no credential helpers, no transport that was not asked for, with a time limit and
//! bounded output, and nothing left running when a future is dropped.
//!
//! Two rules hold everything up:
//! - Host-side git never opens a repository that an agent can write. An agent's work tree has its
//!   own `.git` for its own use; the host looks only at the files beside it, through a bare
//!   repository that no environment can reach (see [`snapshot`]).
//! - A credential never stands in an argument, a configuration file, an address or an error. It
//!   travels in the environment of the one child that needs it.
//!
//! This crate knows nothing of runs, forges or HTTP frameworks. [`smart_http`] and [`receive`]
//! speak in plain `http` types, so that the server and the git door can mount them.

pub mod address;
pub mod bundle;
pub mod checkout;
pub mod command;
pub mod diff;
pub mod error;
pub mod history;
pub mod merge;
pub mod mirror;
pub mod object;
pub mod pkt_line;
pub mod receive;
pub mod repository;
pub mod restat;
pub mod smart_http;
pub mod snapshot;
pub mod transfer;

pub use address::{Address, Credential, Remote};
pub use command::{Git, Options};
pub use error::{Error, Result};
pub use mirror::Mirror;
pub use object::{Oid, RefName, RepoPath, Signature};
pub use repository::Repository;
