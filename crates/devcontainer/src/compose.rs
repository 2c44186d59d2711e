//! Compose files, as far as an environment with services beside it needs them. What isn't understood
//! is refused with its place: a service that runs otherwise than written would be found out too late.

mod interpolate;
mod layer;
mod order;
mod service;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

use crate::{
    configuration::ComposeChoice,
    find::Files,
    path,
    place::{Findings, Place},
    read::{Fields, wrong_type},
    resolve::{referred, within},
    tree::{self, Node, Value},
};

pub use service::{Condition, Dependency, HealthCheck, HealthTest, Network, Published, Service};

/// The services of a project, all files taken together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Project {
    /// The services, by name.
    pub services: IndexMap<String, Service>,
    /// The services to start, in an order in which each comes after those it depends on.
    pub order: Vec<String>,
    /// The names of the volumes.
    pub volumes: Vec<String>,
}

/// Where Compose files are read from.
pub(crate) struct Reading<'a> {
    pub files: &'a dyn Files,
    /// The folder that the configuration's paths are relative to.
    pub folder: &'a str,
    /// The project's folder, where files of the default name are.
    pub workspace: &'a str,
    /// Nothing outside of this folder is read.
    pub root: &'a str,
    /// The variables that files may use.
    pub environment: &'a BTreeMap<String, String>,
}

/// Reads the files of a choice; what is wrong is said at its place, or at `place`.
pub(crate) fn read(
    choice: &ComposeChoice,
    place: &Place,
    reading: &Reading<'_>,
    findings: &mut Findings,
) -> Option<Project> {
    let paths = paths(choice, place, reading, findings)?;
    let folder = path::parent(paths.first()?).to_owned();
    let environment = environment(reading, &folder);
    let mut layers = Vec::with_capacity(paths.len());
    for path in &paths {
        let text = referred(reading.files, path, place, findings)?;
        let node = match tree::parse_yaml(path, &text) {
            Ok(node) => node,
            Err(finding) => {
                findings.refuse(&finding.place, finding.what);
                return None;
            }
        };
        match interpolate::all(&node, &environment, findings) {
            Ok(node) => layers.push(layer::normal(&node)),
            Err(finding) => {
                findings.refuse(&finding.place, finding.what);
                return None;
            }
        }
    }
    let whole = layers.into_iter().reduce(|below, above| layer::merge(&below, &above, ""))?;
    let files = service::Surroundings { reading, folder: &folder, environment: &environment };
    let mut project = project(&whole, &files, findings)?;
    if !project.services.contains_key(&choice.service) {
        let names: Vec<&str> = project.services.keys().map(String::as_str).collect();
        let what = format!(
            "the service `{}` isn't in {}: it has {}",
            choice.service,
            paths.join(", "),
            names.join(", ")
        );
        findings.refuse(place, what);
        return None;
    }
    project.order = order::order(&project, choice, findings);
    Some(project)
}

fn paths(
    choice: &ComposeChoice,
    place: &Place,
    reading: &Reading<'_>,
    findings: &mut Findings,
) -> Option<Vec<String>> {
    if !choice.files.is_empty() {
        return choice
            .files
            .iter()
            .map(|file| within(reading.folder, file, reading.root, place, findings))
            .collect();
    }
    let mut paths = vec![path::join(reading.workspace, "docker-compose.yml")];
    let more = path::join(reading.workspace, "docker-compose.override.yml");
    if reading.files.is_file(&more) {
        paths.push(more);
    }
    Some(paths)
}

/// What files may use: the `.env` beside the first file, and what the caller gives, which counts more.
fn environment(reading: &Reading<'_>, folder: &str) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    if let Ok(Some(text)) = reading.files.read(&path::join(folder, ".env")) {
        environment.extend(service::environment_file(&text));
    }
    environment.extend(reading.environment.clone());
    environment
}

fn project(
    node: &Node,
    surroundings: &service::Surroundings<'_>,
    findings: &mut Findings,
) -> Option<Project> {
    let mut fields = Fields::open(node, "the Compose file", findings)?;
    let services = fields.get("services");
    let volumes = fields.get("volumes").map(Node::members).unwrap_or(&[]);
    let volumes = volumes.iter().map(|member| member.key.clone()).collect();
    // Which version a file says it has has no meaning any more; a name is given by the platform.
    for key in ["version", "name"] {
        fields.get(key);
    }
    if let Some(networks) = fields.get("networks") {
        networks_of(networks, fields.findings);
    }
    let extensions: Vec<&str> = node
        .members()
        .iter()
        .map(|member| member.key.as_str())
        .filter(|key| key.starts_with("x-"))
        .collect();
    fields.finish_strictly("isn't supported: remove it or describe it in a service", &extensions);
    let Some(services) = services else {
        findings.refuse(&node.place, "there are no `services`: describe at least one");
        return None;
    };
    if !services.is_object() {
        wrong_type(services, "services", "an object", findings);
        return None;
    }
    let mut read = IndexMap::new();
    for member in services.members() {
        if let Some(service) = service::read(member, surroundings, findings) {
            read.insert(member.key.clone(), service);
        }
    }
    Some(Project { services: read, order: Vec::new(), volumes })
}

/// All services share one network, in which each is found by its name.
fn networks_of(node: &Node, findings: &mut Findings) {
    for member in node.members() {
        let is_external =
            member.node.get("external").is_some_and(|node| node.value == Value::Bool(true));
        if is_external {
            let what = format!("the network `{}` is outside of the project: remove it", member.key);
            findings.refuse(&member.place, what);
        } else if member.key != "default" {
            let what = format!("the network `{}` is one with all others here", member.key);
            findings.warn(&member.place, what);
        }
    }
}
