//! Secrets and variables. One file per endpoint.

mod get;
mod list;
mod remove;
mod set;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![list::endpoint(), set::endpoint(), get::endpoint(), remove::endpoint()]
}
