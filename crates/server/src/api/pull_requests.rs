//! Pull requests. One file per endpoint.

mod list;
mod get;
mod diff;
mod patch;
mod comment;
mod approve;
mod request_changes;
mod merge;
mod close;
mod reopen;
mod publish;
mod follow_up;

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
