//! What a job may do, as data: parse, merge from the organisation down to the job, decide, explain.
//!
//! Pure: nothing here opens a socket, reads a clock or draws a random number, so that a decision can
//! be repeated later from its inputs. Those who enforce (`gateway`, `sandbox`, `server`) ask here
//! and never decide on their own.

pub mod network;
pub mod permission;
pub mod redact;
pub mod secrets;
