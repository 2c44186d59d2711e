//! View models: everything that a page shows, as plain data, and the templates that show it. A view
//! model is made from what the API gives (`wire::api`) and never reads anything itself; the same model
//! always makes the same page. Whatever somebody else wrote is a [`Text`] or an [`Html`] here, never a
//! `String`.

pub(crate) mod shell;

pub(crate) mod automations;
pub(crate) mod fleets;
pub(crate) mod home;
pub(crate) mod runs;

pub(crate) mod job;
pub(crate) mod log;
pub(crate) mod session;
pub(crate) mod timeline;

pub(crate) mod change;
pub(crate) mod classes;
pub(crate) mod diff;

pub(crate) mod ahead;
pub(crate) mod environments;
pub(crate) mod files;
pub(crate) mod people;
pub(crate) mod places;
pub(crate) mod ports;
pub(crate) mod problem;
pub(crate) mod runners;
pub(crate) mod secrets;
pub(crate) mod services;

pub(crate) use super::text::{Html, Text};
pub(crate) use super::when::Moment;
pub(crate) use shell::{Crumb, Section, Shell, State, Theme, Viewer, icon};
