//! Projects. One file per endpoint.

mod add;
mod list;
mod get;
mod remove;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        add::endpoint(),
        list::endpoint(),
        get::endpoint(),
        remove::endpoint(),
    ]
}
