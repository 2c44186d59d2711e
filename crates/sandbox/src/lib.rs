//! Turns a plan into a confined process tree, and is the only crate of Windlass that talks to the
//! kernel directly.
//!
//! A caller connects a [`Client`] to the one small supervisor process of the host (starting it when
//! there is none), gives it a [`Plan`] and gets an environment: own namespaces, a read-only view of the
//! host's system folders, one writable work tree, and no network but *doors*, listening sockets that
//! the environment's first process opens and hands out before anything else runs inside. Programs are
//! executed with exact arguments under an operation id, so that a caller that crashed can ask again
//! without executing twice.
//!
//! What may never happen here: an environment that starts although a layer its plan requires is not
//! *seen* to be in force; a process, mount, folder or cgroup that outlives its supervisor and the next
//! sweep; a thread in the supervisor (it forks); reading the process environment.
//!
//! Modules in reading order: [`plan`] and [`operation`] are the data; [`backend`] is what every way of
//! making environments has in common; [`client`] is the way in; [`contained`] is the supervisor as a
//! container's first process; [`portable`] shows a program of the host to any image, [`unpack`] makes an
//! image's folder from its layers;
//! [`supervisor`] owns the environments; `init` is the first process of each; `keeper` stands beside
//! each operation; [`doctor`] proves by attacks what this host can enforce; [`measure`] times a start; [`space`]
//! says how much room there is.

#![cfg(target_os = "linux")]

pub mod accounts;
pub mod backend;
pub mod canary;
pub mod client;
pub mod contained;
pub mod doctor;
pub mod error;
pub mod measure;
pub mod operation;
pub mod plan;
pub mod portable;
pub mod space;
pub mod spool;
pub mod supervisor;
pub mod toolchains;
pub mod unpack;

mod build;
mod cgroup;
mod door;
mod etc;
mod frame;
mod identity;
mod init;
mod keeper;
mod kernel;
mod mounts;
mod processes;
mod protocol;
mod remedy;
mod seccomp;
mod tree;

pub use backend::{
    Backend, Base, Capabilities, Image, ImageSettings, Isolation, Prepared, Progress,
};
pub use client::{Client, Created, DoorListener, Pending, Pipes, Started};
pub use error::{Error, Result};
pub use operation::{Exec, Io, Size, State, Status};
pub use plan::{
    Again, Bind, Demand, Door, Enforced, EnvironmentId, Layer, Layers, Limits, OperationId, Plan,
    Report, Scratch, User, WorkTree,
};
pub use portable::Portable;
pub use protocol::Listed;
pub use tree::{
    copy::{
        Copied, CopyBy, CopyLimits, Numbers, copy as copy_folder, fill as fill_folder, fill_for,
    },
    give_folder, remove as remove_folder, settle_folder,
};
