//! The server itself, the feed and search. One file per endpoint.

mod version;
mod health;
mod me;
mod openapi;
mod feed;
mod search;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        version::endpoint(),
        health::endpoint(),
        me::endpoint(),
        openapi::endpoint(),
        feed::endpoint(),
        search::endpoint(),
    ]
}
