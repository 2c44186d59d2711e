//! The runner against a server in memory that uses the same machine as the real one, through real
//! HTTP: what is asserted is what the server's journal says in the end.

#![allow(clippy::disallowed_methods, reason = "tests read what the tester asks for")]

mod builds;
mod classes;
mod composes;
mod dockerfiles;
mod environment;
mod features;
mod images;
mod kept;
mod protocol;
mod secrets;
mod stock;
mod trees;
mod volumes;
mod whole;
mod world;
