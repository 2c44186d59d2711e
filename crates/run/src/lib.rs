//! Runs, jobs, steps, leases and effects as state machines. Pure: no IO, no clock, no chance, no
//! async. Whoever drives a machine (the server from its journal, a runner within a lease, a
//! simulation) hands in the time and gets events back:
//!
//! ```text
//! decide(&state, &command, now) -> Result<Vec<Event>, Refusal>    what would happen, or why not
//! state.apply(&event, at)                                         the only way state changes
//! ```
//!
//! The server and the runner drive the *same* [`job`] machine, so a runner that was cut off goes on
//! by itself and the server re-checks every report when it arrives.

pub mod id;
pub mod time;

pub mod actor;
pub mod class;
pub mod labels;
pub mod schedule;
pub mod spec;
pub mod task;
pub mod template;

pub mod effect;
pub mod environment;
pub mod event;
pub mod expression;
pub mod fleet;
pub mod job;
pub mod run;

pub use class::Class;
pub use id::{
    AutomationId, EffectKey, EnvironmentId, EventId, HookId, InvalidId, JobId, OrganisationId,
    ProjectId, RunId, RunnerId, SecretId, StepId, TokenId, UserId,
};
pub use labels::Labels;
pub use time::{Duration, Time};
