//! The public API: `/api/v1`. One file per endpoint, in the order: declaration, handler. A handler reads
//! the request, calls one action or view, and shapes the answer; it decides nothing.

mod accounts;
mod automations;
mod classes;
mod environments;
mod events;
mod fleets;
mod hooks;
mod jobs;
mod keys;
mod projects;
mod pull_requests;
mod runners;
mod runs;
mod secrets;
mod system;

use crate::endpoint::Endpoint;

/// All endpoints, in the order in which the documentation lists them.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    endpoints.extend(system::endpoints());
    endpoints.extend(runs::endpoints());
    endpoints.extend(automations::endpoints());
    endpoints.extend(fleets::endpoints());
    endpoints.extend(jobs::endpoints());
    endpoints.extend(environments::endpoints());
    endpoints.extend(projects::endpoints());
    endpoints.extend(pull_requests::endpoints());
    endpoints.extend(runners::endpoints());
    endpoints.extend(classes::endpoints());
    endpoints.extend(events::endpoints());
    endpoints.extend(hooks::endpoints());
    endpoints.extend(secrets::endpoints());
    endpoints.extend(accounts::endpoints());
    endpoints.extend(keys::endpoints());
    endpoints
}
