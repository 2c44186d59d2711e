//! What comes in from outside: webhooks. A delivery is checked, kept as an event, and only then acknowledged; what
//! it means is worked out afterwards by a reconciler, so that the sender never waits and nothing that
//! was acknowledged is lost.

pub(crate) mod github;
mod receive;
pub(crate) mod registry;
pub(crate) mod scheme;

use crate::endpoint::Endpoint;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![github::endpoint(), receive::endpoint()]
}
