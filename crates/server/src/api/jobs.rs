//! Jobs and their streams. One file per endpoint.

mod cancel;
mod decide;
mod diff;
mod events;
mod get;
mod list;
mod log;
mod session;
mod steps;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        list::endpoint(),
        get::endpoint(),
        steps::endpoint(),
        cancel::endpoint(),
        decide::endpoint(),
        diff::endpoint(),
        events::endpoint(),
        log::endpoint(),
        session::endpoint(),
    ]
}
