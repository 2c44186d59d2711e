//! Hooks: named places that receive webhooks. One file per endpoint.

mod create;
mod finish;
mod get;
mod list;
mod remove;
mod rotate;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        list::endpoint(),
        create::endpoint(),
        get::endpoint(),
        rotate::endpoint(),
        finish::endpoint(),
        remove::endpoint(),
    ]
}
