//! Runners. One file per endpoint.

mod change;
mod get;
mod invite;
mod list;
mod remove;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        list::endpoint(),
        invite::endpoint(),
        get::endpoint(),
        change::endpoint(),
        remove::endpoint(),
    ]
}
