//! Agents: drive a harness over a byte stream that somebody else opened.
//!
//! This crate speaks the Agent Client Protocol (ACP) as a client (`acp`), knows how well-known
//! agents want to be started (`known`), installs them on the runner's host (`install`), gathers the
//! instructions that a repository holds for agents (`instructions`), and contains one small agent of
//! our own (`builtin`), which speaks ACP from the other side.
//!
//! Never done here: starting a process of an environment (`sandbox` does, and hands over the
//! streams), judging whether a task succeeded (the work tree says that, not the agent), or holding
//! a credential of a forge, a model or a database.

pub mod acp;
pub mod builtin;
pub mod give_up;
pub mod install;
pub mod instructions;
pub mod known;
pub mod prompt;

mod clip;
