//! The server itself, the feed and search. One file per endpoint.

mod feed;
mod health;
mod me;
mod notices;
mod openapi;
mod search;
mod version;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        version::endpoint(),
        health::endpoint(),
        notices::endpoint(),
        me::endpoint(),
        openapi::endpoint(),
        feed::endpoint(),
        search::endpoint(),
    ]
}
