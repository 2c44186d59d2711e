//! Publishing ports of environments, and closing them again.

use windlass_run::environment::{Admission, Command};
use windlass_wire::api::port::{Port, PublishPort};

use super::accounts::check_name;
use crate::{
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
    views::{environments, ports as views},
};

/// Publishes a port of an environment, or changes how it is published. The same again changes nothing.
///
/// # Errors
/// No port, or one that can't be published; the environment is not there or somebody else's; this server
/// publishes none, or not for so many; the store's failures.
pub async fn publish(
    app: &AppState,
    principal: &Principal,
    name: &str,
    port: &str,
    wanted: PublishPort,
) -> Result<Port, Problem> {
    let port = number(port)?;
    let row = environments::find_to_use(app, principal, name).await?;
    let before = row.state.published(port);
    let admission = match (wanted.admission, before) {
        (Some(admission), _) => admission.into(),
        (None, Some(before)) => before.admission,
        (None, None) => Admission::Owner,
    };
    may_be(app, admission)?;
    let name = match wanted.name.as_deref().map(str::trim) {
        Some("") => None,
        Some(name) => Some(check_name(name)?),
        None => match before {
            Some(before) => before.name.clone(),
            None => views::offered_name(&row, port),
        },
    };
    let command = Command::Publish { port, name, admission };
    let row = super::environments::give(app, principal, &row.id, command).await?;
    app.admission_narrows();
    let published = row.state.published(port).ok_or_else(|| {
        Problem::new(Code::Conflict, format!("port {port} was closed in this moment"))
    })?;
    Ok(views::shown(app, &row, published))
}

/// Closes a port. What is open to it is cut at once.
///
/// # Errors
/// It is not published; the environment is not there or somebody else's; the store's failures.
pub async fn unpublish(
    app: &AppState,
    principal: &Principal,
    name: &str,
    port: &str,
) -> Result<(), Problem> {
    let port = number(port)?;
    let row = environments::find_to_use(app, principal, name).await?;
    if row.state.published(port).is_none() {
        return Err(Problem::not_found(format!("published port {port} of this environment")));
    }
    super::environments::give(app, principal, &row.id, Command::Unpublish { port }).await?;
    app.admission_narrows();
    Ok(())
}

/// Reads the number of a port.
fn number(port: &str) -> Result<u16, Problem> {
    port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| {
        let port: String = port.chars().take(16).collect();
        let why = format!("`{port}` is no port: that is a number from 1 to 65535");
        Problem::new(Code::BadRequest, why).at("port")
    })
}

/// Whether a port can be published for these.
fn may_be(app: &AppState, admission: Admission) -> Result<(), Problem> {
    if let Some(why) = views::unreachable(app) {
        return Err(Problem::new(Code::PortsOff, why));
    }
    match views::beyond(app, admission) {
        Some(why) => Err(Problem::new(Code::PortsOff, why).at("admission")),
        None => Ok(()),
    }
}
