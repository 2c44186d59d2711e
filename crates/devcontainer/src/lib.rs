//! Dev Container files: find, parse, substitute, merge, and plan a start from them.
//!
//! Pure: nothing here opens a file, reads a clock, draws a random number or looks at the process
//! environment. Text comes in through [`Files`] and [`Request`], a [`Resolved`] goes out, and whoever
//! starts environments acts on it. What the reference tool (`@devcontainers/cli`) would read is what
//! this reads; the few intended differences are in `docs/devcontainer.md`, each with its reason.
//!
//! In reading order: a text becomes a located [`tree`], so that every complaint has a place;
//! [`substitute`] replaces the variables in it; [`configuration`] reads it into types; [`merge`] joins
//! it with what the image and the [`feature`]s bring; [`lifecycle`] orders the commands and
//! [`capability`] says, before anything starts, what a backend can't honour. [`automation`] is the
//! project's own file of services and tasks. [`resolve()`] does all of
//! that in one call:
//!
//! ```
//! use std::collections::BTreeMap;
//! use windlass_devcontainer::{Request, resolve, workspace::Workspace};
//!
//! let text = r#"{ "image": "debian:12", "postCreateCommand": "make", /* soon */ }"#;
//! let files = BTreeMap::from([("/srv/app/.devcontainer.json".to_owned(), text.to_owned())]);
//! let workspace = Workspace { folder: "/srv/app".to_owned(), git_root: None };
//! let resolved = resolve(&Request::new(workspace), &files)?;
//! assert_eq!(resolved.base_image.as_deref(), Some("debian:12"));
//! assert_eq!(resolved.workspace.workspace_folder.as_deref(), Some("/workspaces/app"));
//! # Ok::<(), windlass_devcontainer::Refused>(())
//! ```

pub mod automation;
pub mod capability;
pub mod compose;
pub mod configuration;
pub mod dockerfile;
pub mod feature;
pub mod find;
pub mod lifecycle;
pub mod merge;
pub mod reserved;
pub mod resolve;
pub mod substitute;
pub mod workspace;

mod path;

pub use find::Files;
pub use windlass_document::place::{self, Finding, Findings, Place, Refused, Severity};
pub use windlass_document::tree;

pub use resolve::{Request, Resolved, resolve};
use windlass_document::read;
