//! The public API, version 1: what `/api/v1` takes and gives, as JSON. Types only; the OpenAPI
//! document is generated from them. Names and meanings here are only ever added to: a field never
//! changes its meaning and never disappears within a version.
//!
//! All times are microseconds since the Unix epoch. All text that began with an agent, a model, a
//! repository or a person is *untrusted* and given as it is: whoever shows it escapes it.

pub mod account;
pub mod automation;
pub mod class;
pub mod environment;
pub mod event;
pub mod feed;
pub mod file;
pub mod fleet;
pub mod hook;
pub mod job;
pub mod notice;
pub mod port;
pub mod problem;
pub mod project;
pub mod pull_request;
pub mod readiness;
pub mod run;
pub mod runner;
pub mod search;
pub mod secret;
pub mod service;
pub mod system;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A page of a list. Lists are cut by key, never by offset: a row that arrives meanwhile shifts
/// nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The entries, in the list's order.
    pub items: Vec<T>,
    /// Hand this back as `cursor` to go on; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// `next` of the page before; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many entries, 1 to 200. 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Who did something, as a person reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Who {
    /// `user`, `token`, `runner` or `system`.
    pub kind: String,
    /// The id; a reconciler's name for `system`.
    pub id: String,
    /// The name at the time of asking; the id where there is none.
    pub name: String,
}
