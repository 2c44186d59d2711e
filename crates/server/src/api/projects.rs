//! Projects. One file per endpoint.

mod add;
mod change;
mod get;
mod list;
mod pool;
mod readiness;
mod remove;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        add::endpoint(),
        list::endpoint(),
        get::endpoint(),
        change::endpoint(),
        readiness::endpoint(),
        pool::endpoint(),
        remove::endpoint(),
    ]
}
