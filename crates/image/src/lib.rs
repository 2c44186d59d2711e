//! Container images without an engine: pulled from a registry or loaded from an archive, verified, kept as
//! an OCI image layout, unpacked once, and shown to environments of the backend `process` as their root.
//!
//! ```text
//! oci-layout, index.json    which images there are, by name
//! blobs/sha256/<digest>     manifests, configurations and layers, each verified before it has this name
//! trees/<digest>/root       an image's unpacked files, or what a recipe made of it; the folder has its name
//!                           once it is whole
//! incoming/                 what is not whole yet, removed at the next start
//! lock                      held by whoever changes anything
//! ```
//!
//! What may never happen here: bytes that are used before their digest was seen to be right; an image that
//! is half there; a credential in an error, a log or a file; a plain-text connection, or one to an address
//! of this machine's network, that the operator did not name.
//!
//! Modules in reading order: [`backend`] is the backend `process` with images; [`store`] keeps them, [`artifact`] keeps Features;
//! `registry` and `archive` bring them; `making` makes new ones from them; `layout` and `manifest` are what lies on disk.

pub mod artifact;
pub mod backend;
pub mod store;

mod archive;
mod layout;
mod making;
mod manifest;
mod registry;

pub use artifact::{Artifact, Artifacts};
pub use backend::WithImages;
pub use store::{Options, Store, Stored};
