//! What the crate does, seen from outside: files in, a plan or complaints with places out.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "behaviour/capabilities.rs"]
mod capabilities;
#[path = "behaviour/composes.rs"]
mod composes;
#[path = "behaviour/dockerfiles.rs"]
mod dockerfiles;
#[path = "behaviour/features.rs"]
mod features;
#[path = "behaviour/lifecycles.rs"]
mod lifecycles;
#[path = "behaviour/project.rs"]
mod project;
#[path = "behaviour/readings.rs"]
mod readings;
