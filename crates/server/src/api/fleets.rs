//! Fleets. One file per endpoint.

mod advance;
mod approve;
mod cancel;
mod close;
mod cluster;
mod clusters;
mod get;
mod list;
mod merge;
mod pause;
mod resume;
mod retry;
mod send_back;
mod split;
mod targets;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        list::endpoint(),
        get::endpoint(),
        targets::endpoint(),
        pause::endpoint(),
        resume::endpoint(),
        cancel::endpoint(),
        advance::endpoint(),
        retry::endpoint(),
        clusters::endpoint(),
        cluster::endpoint(),
        split::endpoint(),
        approve::endpoint(),
        send_back::endpoint(),
        merge::endpoint(),
        close::endpoint(),
    ]
}
