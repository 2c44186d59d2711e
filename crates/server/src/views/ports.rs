//! Published ports of environments, as people see them.

use windlass_run::environment::{Admission, Published};
use windlass_store::environments::EnvironmentRow;
use windlass_wire::api::port::{OfferedPort, Port, Ports};

use super::environments::find;
use crate::{auth::Principal, ports::address::Address, problem::Problem, state::AppState};

/// The ports of an environment: those that are published, and those that its repository names.
///
/// # Errors
/// The environment is not there; the store's failures.
pub async fn list(app: &AppState, principal: &Principal, name: &str) -> Result<Ports, Problem> {
    let row = find(app, principal, name).await?;
    let offered = row.report.offered.iter();
    let offered = offered.filter(|(port, _)| *port > 0 && row.state.published(*port).is_none());
    Ok(Ports {
        published: row.state.ports.iter().map(|published| shown(app, &row, published)).collect(),
        offered: offered
            .map(|(port, name)| OfferedPort { port: *port, name: some(name) })
            .collect(),
        ceiling: app.ports().ceiling().map(Into::into),
        unreachable: unreachable(app),
    })
}

/// A published port as the API gives it.
pub(crate) fn shown(app: &AppState, row: &EnvironmentRow, published: &Published) -> Port {
    let address = Address { environment_id: row.id.clone(), port: published.port };
    Port {
        port: published.port,
        name: published.name.clone(),
        admission: published.admission.into(),
        url: app.ports().url(&address),
        shut: unreachable(app).or_else(|| beyond(app, published.admission)),
    }
}

/// What the repository calls a port.
pub(crate) fn offered_name(row: &EnvironmentRow, port: u16) -> Option<String> {
    let offered = row.report.offered.iter().find(|(offered, _)| *offered == port);
    offered.and_then(|(_, name)| some(name))
}

/// Why no port is published at this server, if none is.
pub(crate) fn unreachable(app: &AppState) -> Option<String> {
    if app.ports().ceiling().is_none() {
        let why = "this server publishes no ports: `windlass up --ports-admission owner` lets it";
        return Some(why.to_owned());
    }
    app.ports().is_homeless().then(|| {
        "this server has no host for ports: have every name below one lead to it, and start it with \
         `windlass up --ports-host HOST`"
            .to_owned()
    })
}

/// Why nobody is let in to a port with this admission, if that is more than this server allows.
pub(crate) fn beyond(app: &AppState, admission: Admission) -> Option<String> {
    let ceiling = app.ports().ceiling().filter(|ceiling| admission > *ceiling)?;
    Some(format!(
        "this server publishes ports for `{}` at most, not for `{}`: publish it for those, or start the server \
         with `--ports-admission {}`",
        ceiling.name(),
        admission.name(),
        admission.name()
    ))
}

/// A name from a repository, as far as it can be a port's.
fn some(name: &str) -> Option<String> {
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
