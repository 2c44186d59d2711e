//! Ports in pages: the section of an environment's page with its forms, and `/ports/enter`, where whoever comes
//! to a port and is not known there is let in, or told why not.

use axum::{extract::State, http::Method, response::Response};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_run::environment::Admission;
use windlass_wire::api::{environment::Environment, port};

use super::{
    frame::{Fields, Frame, filled, go, page},
    text::Text,
    view::{
        Crumb, Section,
        environments::Phase,
        ports::{OfferedRow, PortEnter, PortRow, PortsSection, Stands},
    },
};
use crate::{
    actions::ports as actions,
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::{Keys, Place},
    links,
    ports::{self, address::Address, admission},
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let manage = Access::Allows(Action::UseEnvironments);
    let close_path = "/environments/{environment}/ports/{port}/close";
    vec![
        Endpoint::page(Method::GET, "/ports/enter", Access::SignedIn, enter),
        Endpoint::page(Method::POST, "/environments/{environment}/ports", manage, publish),
        Endpoint::page(Method::POST, close_path, manage, close),
    ]
}

/// The section of an environment's page.
pub(super) fn section(
    app: &AppState,
    environment: &Environment,
    ports: port::Ports,
) -> PortsSection {
    let here = format!("{}/ports", links::environment(&environment.id));
    let is_there = !matches!(environment.phase.as_str(), "deleting" | "deleted");
    let row = |port: port::Port| PortRow {
        port: port.port,
        name: port.name.map(Text::from),
        url: port.url,
        admission: Admission::from(port.admission).name(),
        shut: port.shut.map(Text::from),
    };
    let offered =
        |port: port::OfferedPort| OfferedRow { port: port.port, name: port.name.map(Text::from) };
    let admissions = Admission::ALL.into_iter().filter(|admission| app.ports().allows(*admission));
    PortsSection {
        rows: ports.published.into_iter().map(row).collect(),
        offered: ports.offered.into_iter().map(offered).collect(),
        action: (environment.yours && is_there).then_some(here),
        admissions: admissions.map(Admission::name).collect(),
        unreachable: ports.unreachable.map(Text::from),
    }
}

#[derive(Deserialize)]
struct Publish {
    port: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    admission: String,
}

async fn publish(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    Fields(form): Fields<Publish>,
) -> Result<Response, Problem> {
    let admission = match filled(&form.admission) {
        None => None,
        Some(word) => Some(Admission::parse(&word).ok_or_else(|| {
            let why = "a port is published for `owner`, `organisation` or `public`";
            Problem::new(Code::BadRequest, why).at("admission")
        })?),
    };
    let wanted =
        port::PublishPort { name: filled(&form.name), admission: admission.map(Into::into) };
    let row = views::environments::find_to_use(&app, &principal, &name).await?;
    actions::publish(&app, &principal, row.id.as_str(), form.port.trim(), wanted).await?;
    Ok(go(format!("{}?said=published#ports", links::environment(&row.id))))
}

async fn close(
    State(app): State<AppState>,
    principal: Principal,
    Place((name, port)): Place<(String, String)>,
) -> Result<Response, Problem> {
    let row = views::environments::find_to_use(&app, &principal, &name).await?;
    actions::unpublish(&app, &principal, row.id.as_str(), &port).await?;
    Ok(go(format!("{}?said=shut#ports", links::environment(&row.id))))
}

#[derive(Deserialize)]
struct Arrival {
    /// The first part of the port's host.
    to: String,
    /// Digest of what the port's host gave the browser to be known by.
    begun: String,
    path: String,
}

async fn enter(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Keys(arrival): Keys<Arrival>,
) -> Result<Response, Problem> {
    let address = Address::parse(&arrival.to).ok_or_else(admission::nothing_here)?;
    let url = app.ports().url(&address).ok_or_else(admission::nothing_here)?;
    let own = views::environments::find_to_use(&app, &principal, address.environment_id.as_str());
    let is_own = own.await.is_ok();
    let stands = match admission::find(&app, &address, Some(principal)).await? {
        Some(entry) if entry.is_running() => {
            let granted = ports::grant(&app, &entry, &arrival.begun, &arrival.path);
            Stands::Open { to: granted.ok_or_else(admission::nothing_here)? }
        }
        Some(entry) => {
            let word = entry.row.state.phase.name().to_owned();
            let can_start = is_own && matches!(word.as_str(), "stopped" | "failed");
            let start = format!("{}/start", links::environment(&entry.row.id));
            Stands::Down {
                state: Phase { word: word.clone() }.state(),
                word,
                again: format!("{}{}", url.trim_end_matches('/'), local(&arrival.path)),
                start: can_start.then_some(start),
            }
        }
        None if is_own => Stands::Shut { why: why_shut(&app, &address).await?.into() },
        None => return Err(admission::nothing_here()),
    };
    let row = admission::row(&app, &address).await?.ok_or_else(admission::nothing_here)?;
    let (name, href) = (row.state.spec.name.as_str(), links::environment(&row.id));
    let crumbs = vec![
        Crumb::to("Environments", "/environments"),
        Crumb::to(name, href.clone()),
        Crumb::here(format!("Port {}", address.port)),
    ];
    let title = format!("Port {} of {name}", address.port);
    page(&PortEnter {
        shell: frame.shell(Some(Section::Environments), title, crumbs),
        port: address.port,
        name: Text::from(name),
        href,
        stands,
    })
}

/// Why nobody is let in, for somebody who may change it.
async fn why_shut(app: &AppState, address: &Address) -> Result<String, Problem> {
    let row = admission::row(app, address).await?.ok_or_else(admission::nothing_here)?;
    let Some(published) = row.state.published(address.port) else {
        return Ok(format!("Port {} of this environment is not published.", address.port));
    };
    let shut = views::ports::shown(app, &row, published).shut;
    Ok(shut.unwrap_or_else(|| "The environment was removed.".to_owned()))
}

/// A path, or the root where it is none.
fn local(path: &str) -> &str {
    let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path { path } else { "/" }
}
