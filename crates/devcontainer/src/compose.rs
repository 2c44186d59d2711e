//! Compose files, as far as an environment with services beside it needs them. What isn't understood
//! is refused with its place: a service that runs otherwise than written would be found out too late.

mod extend;
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
    tree::{self, Member, Node, Value},
};

pub use service::{
    Condition, Dependency, HealthCheck, HealthTest, Limits, Network, Published, Service,
};

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
    let mut load = |path: &str, place: &Place, findings: &mut Findings| {
        let text = referred(reading.files, path, place, findings)?;
        let node = tree::parse_yaml(path, &text)
            .and_then(|node| interpolate::all(&node, &environment, findings));
        match node {
            Ok(node) => Some(layer::normal(&node)),
            Err(finding) => {
                findings.refuse(&finding.place, finding.what);
                None
            }
        }
    };
    for path in &paths {
        let file = load(path, place, findings)?;
        layers.push(extend::all(path, &file, &mut load, findings)?);
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
    volumes_of(volumes, fields.findings);
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

/// Volumes are the environment's own and lie where the engine keeps them.
fn volumes_of(volumes: &[Member], findings: &mut Findings) {
    for member in volumes {
        let name = &member.key;
        if !service::is_name(name) {
            let what = format!("`{name}` is no volume's name: use letters, digits and `_.-`");
            findings.refuse(&member.place, what);
        }
        if member.node.value == Value::Null {
            continue;
        }
        let Some(mut fields) = Fields::open(&member.node, &format!("volumes.{name}"), findings)
        else {
            continue;
        };
        // What a volume is called outside is the platform's.
        for key in ["name", "labels"] {
            fields.get(key);
        }
        let of_engine = fields.get("driver").and_then(Node::text).unwrap_or("local");
        if of_engine != "local" {
            let what =
                format!("the volume `{name}` can't have the driver `{of_engine}`: remove it");
            fields.findings.refuse(&member.place, what);
        }
        if fields.get("external").is_some_and(|node| node.value != Value::Bool(false)) {
            let what = format!("the volume `{name}` is outside of the project: remove `external`");
            fields.findings.refuse(&member.place, what);
        }
        fields.finish_strictly("isn't supported for a volume here: remove it", &[]);
    }
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
