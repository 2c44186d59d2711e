//! `windlass env ports`, `publish` and `unpublish`: ports of an environment at addresses of their own.

use anyhow::Result;
use reqwest::Method;
use windlass_run::environment;
use windlass_wire::api::port::{Admission, Port, Ports, PublishPort};

use super::path;
use crate::{
    arguments::{self, PortsAdmission},
    client::Client,
    exit::Exit,
    terminal,
};

/// The widest admission of a port; absent: none is published.
pub(crate) fn ceiling(wanted: PortsAdmission) -> Option<environment::Admission> {
    match wanted {
        PortsAdmission::Owner => Some(environment::Admission::Owner),
        PortsAdmission::Organisation => Some(environment::Admission::Organisation),
        PortsAdmission::Public => Some(environment::Admission::Public),
        PortsAdmission::Off => None,
    }
}

pub(super) async fn list(client: &Client, name: &str, json: bool) -> Result<Exit> {
    let ports: Ports = client.get(&format!("{}/ports", path(name))).await?;
    if json {
        crate::verbs::print_json(&ports)?;
        return Ok(Exit::Success);
    }
    let mut rows: Vec<Vec<String>> = ports.published.iter().map(row).collect();
    rows.extend(ports.offered.iter().map(|offered| {
        vec![
            offered.port.to_string(),
            terminal::one_line(offered.name.as_deref().unwrap_or_default(), 64),
            "-".to_owned(),
            format!("not published: windlass env publish {name} {}", offered.port),
        ]
    }));
    terminal::table(&["port", "name", "for", "address"], &rows);
    if let Some(why) = &ports.unreachable {
        eprintln!("{}", terminal::one_line(why, 400));
    }
    Ok(Exit::Success)
}

pub(super) async fn publish(
    client: &Client,
    publish: arguments::PublishPort,
    json: bool,
) -> Result<Exit> {
    let admission = publish.admission.map(|admission| match admission {
        arguments::Admission::Owner => Admission::Owner,
        arguments::Admission::Organisation => Admission::Organisation,
        arguments::Admission::Public => Admission::Public,
    });
    let wanted = PublishPort { name: publish.name, admission };
    let address = format!("{}/ports/{}", path(&publish.env), publish.port);
    let port: Port = client.put(&address, &wanted).await?;
    if json {
        crate::verbs::print_json(&port)?;
        return Ok(Exit::Success);
    }
    terminal::table(&["port", "name", "for", "address"], &[row(&port)]);
    Ok(Exit::Success)
}

pub(super) async fn unpublish(client: &Client, name: &str, port: u16) -> Result<Exit> {
    client.command(Method::DELETE, &format!("{}/ports/{port}", path(name))).await?;
    println!("Port {port} is closed.");
    Ok(Exit::Success)
}

fn row(port: &Port) -> Vec<String> {
    let address = port.shut.as_deref().or(port.url.as_deref()).unwrap_or_default();
    vec![
        port.port.to_string(),
        terminal::one_line(port.name.as_deref().unwrap_or_default(), 64),
        environment::Admission::from(port.admission).name().to_owned(),
        terminal::one_line(address, 400),
    ]
}
