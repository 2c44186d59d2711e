//! Pull requests. One file per endpoint.

mod approve;
mod close;
mod comment;
mod diff;
mod follow_up;
mod get;
mod list;
mod merge;
mod patch;
mod publish;
mod reopen;
mod request_changes;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        list::endpoint(),
        get::endpoint(),
        diff::endpoint(),
        patch::endpoint(),
        comment::endpoint(),
        approve::endpoint(),
        request_changes::endpoint(),
        merge::endpoint(),
        close::endpoint(),
        reopen::endpoint(),
        publish::endpoint(),
        follow_up::endpoint(),
    ]
}
