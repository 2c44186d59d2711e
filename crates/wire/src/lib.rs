//! What crosses a process boundary, versioned on its own: the runner protocol, session events and
//! the public API. Types only: nothing here opens a socket, reads a clock or decides anything.

pub mod api;
pub mod attach;
pub mod automation;
pub mod files;
pub mod runner;
pub mod session;
