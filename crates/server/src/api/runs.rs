//! Runs. One file per endpoint.

mod cancel;
mod create;
mod get;
mod list;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![create::endpoint(), list::endpoint(), get::endpoint(), cancel::endpoint()]
}
