//! Events. One file per endpoint.

mod get;
mod list;
mod replay;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![list::endpoint(), get::endpoint(), replay::endpoint()]
}
