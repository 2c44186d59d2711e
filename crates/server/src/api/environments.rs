//! Environments that live by themselves. One file per endpoint.

mod archive;
mod create;
mod delete;
mod exec;
mod fork;
mod get;
mod list;
mod log;
mod start;
mod stop;
mod unarchive;
mod undelete;
mod work;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        list::endpoint(),
        create::endpoint(),
        get::endpoint(),
        log::endpoint(),
        start::endpoint(),
        fork::endpoint(),
        stop::endpoint(),
        archive::endpoint(),
        unarchive::endpoint(),
        delete::endpoint(),
        undelete::endpoint(),
        work::endpoint(),
        exec::endpoint(),
    ]
}
