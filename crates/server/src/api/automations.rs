//! Automations. One file per endpoint.

mod apply;
mod drift;
mod get;
mod list;
mod pause;
mod plan;
mod rehearse;
mod remove;
mod resume;
mod roll_back;
mod run;
mod start;
mod sync;
mod unsync;
mod versions;

use crate::endpoint::Endpoint;

/// Files of automations are short: the handful of a project fits, and so do the hundreds of a control
/// repository.
const LIMIT: usize = 32 << 20;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        list::endpoint(),
        run::endpoint(),
        rehearse::endpoint(),
        plan::endpoint(),
        apply::endpoint(),
        sync::endpoint(),
        unsync::endpoint(),
        drift::endpoint(),
        get::endpoint(),
        remove::endpoint(),
        versions::endpoint(),
        roll_back::endpoint(),
        pause::endpoint(),
        resume::endpoint(),
        start::endpoint(),
    ]
}
