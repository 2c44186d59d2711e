//! Environments that live by themselves. One file per endpoint; wishes share one.

mod command;
mod create;
mod diff;
mod exec;
mod file;
mod files;
mod fork;
mod get;
mod journal;
mod list;
mod log;
mod ports;
mod publish;
mod service_log;
mod services;
mod unpublish;
mod work;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints =
        vec![list::endpoint(), create::endpoint(), get::endpoint(), log::endpoint()];
    endpoints.extend(command::endpoints());
    endpoints.extend(files::endpoints());
    endpoints.extend(file::endpoints());
    endpoints.push(diff::endpoint());
    endpoints.extend(services::endpoints());
    endpoints.extend(service_log::endpoints());
    endpoints.extend([fork::endpoint(), work::endpoint(), exec::endpoint(), journal::endpoint()]);
    endpoints.extend([ports::endpoint(), publish::endpoint(), unpublish::endpoint()]);
    endpoints
}
