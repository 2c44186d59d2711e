//! Runs. One file per endpoint.

mod create;
mod list;
mod get;
mod cancel;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        create::endpoint(),
        list::endpoint(),
        get::endpoint(),
        cancel::endpoint(),
    ]
}
