//! Environment classes. One file per endpoint.

mod change;
mod create;
mod get;
mod list;
mod remove;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        list::endpoint(),
        create::endpoint(),
        get::endpoint(),
        change::endpoint(),
        remove::endpoint(),
    ]
}
