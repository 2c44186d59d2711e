//! Automations. One file per endpoint.

mod rehearse;
mod run;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![run::endpoint(), rehearse::endpoint()]
}
