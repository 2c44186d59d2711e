//! Automations. One file per endpoint.

mod run;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![run::endpoint()]
}
