//! Public keys of whoever asks, and where SSH listens. One file per endpoint.

mod add;
mod list;
mod remove;
mod ssh;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![list::endpoint(), add::endpoint(), remove::endpoint(), ssh::endpoint()]
}
