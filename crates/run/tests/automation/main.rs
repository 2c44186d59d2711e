//! Automation files: what is read, what is refused and how, and what becomes of calls and inputs.

mod calls;
mod good;
mod malformed;
mod published;
mod triggers;
