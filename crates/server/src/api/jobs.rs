//! Jobs and their streams. One file per endpoint.

mod list;
mod get;
mod steps;
mod cancel;
mod diff;
mod events;
mod log;
mod session;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        list::endpoint(),
        get::endpoint(),
        steps::endpoint(),
        cancel::endpoint(),
        diff::endpoint(),
        events::endpoint(),
        log::endpoint(),
        session::endpoint(),
    ]
}
