//! One service, in types.

mod health;
mod limits;
mod names;
mod volume;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

use super::Reading;
use crate::{
    automation::Restart,
    configuration::{Build, Mount},
    path,
    place::{Findings, Place},
    read::{self, Fields, wrong_type},
    resolve::{referred, within},
    tree::{Member, Node, Value},
};

pub use health::{HealthCheck, HealthTest};
pub use limits::Limits;
pub(super) use names::is_name;

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Service {
    /// Where it is described.
    pub place: Place,
    /// Where each of its keys stands.
    #[serde(skip)]
    pub places: BTreeMap<String, Place>,
    /// Its image. With `build`, the name to give to what is built.
    pub image: Option<String>,
    /// How to build it; the context is absolute, the Dockerfile relative to it.
    pub build: Option<Build>,
    /// Its variables.
    pub environment: IndexMap<String, String>,
    /// Its mounts. Bound folders are absolute.
    pub mounts: Vec<Mount>,
    /// Its ports.
    pub ports: Vec<Published>,
    /// What must be so before it starts.
    pub depends_on: IndexMap<String, Dependency>,
    /// Its command, instead of the image's.
    pub command: Option<Vec<String>>,
    /// Its entry point, instead of the image's.
    pub entrypoint: Option<Vec<String>>,
    /// How to find out whether it works.
    pub healthcheck: Option<HealthCheck>,
    /// The user it runs as.
    pub user: Option<String>,
    /// The folder it works in.
    pub working_dir: Option<String>,
    /// Its name in the network, besides the service's.
    pub hostname: Option<String>,
    /// Further names in the network.
    pub aliases: Vec<String>,
    /// Ports that it says it listens on, besides those in `ports`.
    pub exposed: Vec<u16>,
    /// Its network.
    pub network: Network,
    /// Whether an init process reaps orphans.
    pub init: bool,
    /// Whether it has all rights.
    pub privileged: bool,
    /// Capabilities to add.
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// Options for the engine's security.
    pub security_opt: Vec<String>,
    /// Labels.
    pub labels: IndexMap<String, String>,
    /// It starts by default only if it has none.
    pub profiles: Vec<String>,
    /// What happens when it ends by itself.
    pub restart: Restart,
    /// Whether its image may be fetched.
    pub may_pull: bool,
    /// Whether its own files can't be written.
    pub read_only: bool,
    /// The bytes of its shared memory.
    pub shared_memory: Option<u64>,
    /// What it may use of the machine.
    pub limits: Limits,
}

impl Service {
    /// Its entry point and command as a line for a shell; `None` if it has none or only stays.
    pub fn line(&self) -> Option<String> {
        let words: Vec<&str> =
            self.entrypoint.iter().chain(&self.command).flatten().map(String::as_str).collect();
        let text = words.join(" ");
        let only_stays = self.entrypoint.is_none()
            && (text.contains("sleep infinity")
                || text.contains("tail") && text.contains("/dev/null")
                || text.contains("while") && text.contains("sleep"));
        // A text with a NUL is no program's argument.
        shlex::try_join(words).ok().filter(|line| !line.is_empty() && !only_stays)
    }

    /// Where a key stands, or else the service.
    pub fn place_of(&self, key: &str) -> &Place {
        self.places.get(key).unwrap_or(&self.place)
    }
}

/// A port that a service offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Published {
    /// The port inside.
    pub target: u16,
    /// The port that it would have on a host.
    pub published: Option<u16>,
    /// `tcp` or `udp`.
    pub protocol: String,
}

/// What must be so of another service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// What.
    pub condition: Condition,
    /// Whether it must be there at all.
    pub required: bool,
}

/// What must be so of another service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It was started.
    Started,
    /// Its health check succeeded.
    Healthy,
    /// It ended without error.
    Completed,
}

/// A service's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The project's.
    #[default]
    Project,
    /// Another service's, with the same addresses and ports.
    Of(String),
    /// None.
    None,
}

/// What a service is read in.
pub(super) struct Surroundings<'a> {
    pub(super) reading: &'a Reading<'a>,
    /// What paths are relative to.
    pub(super) folder: &'a str,
    pub(super) environment: &'a BTreeMap<String, String>,
}

const CONDITIONS: [(&str, Condition); 3] = [
    ("service_started", Condition::Started),
    ("service_healthy", Condition::Healthy),
    ("service_completed_successfully", Condition::Completed),
];

/// What has no meaning for an environment that is thrown away, or belongs to the platform.
const IDLE: [&str; 10] = [
    "annotations",
    "attach",
    "container_name",
    "develop",
    "logging",
    "platform",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "tty",
];

pub(super) fn read(
    member: &Member,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings,
) -> Option<Service> {
    let (name, node) = (&member.key, &member.node);
    if !is_name(name) {
        let what = format!("`{name}` is no service's name: use letters, digits and `_.-`");
        findings.refuse(&member.place, what);
        return None;
    }
    let mut fields = Fields::open(node, &format!("services.{name}"), findings)?;
    let mut environment = IndexMap::new();
    if let Some(files) = fields.get("env_file") {
        environment.extend(environment_files(files, surroundings, fields.findings));
    }
    environment.extend(
        fields
            .read("environment", |node, name, findings| {
                values(node, name, surroundings.environment, findings)
            })
            .unwrap_or_default(),
    );
    let service = Service {
        place: member.place.clone(),
        places: node.members().iter().map(|it| (it.key.clone(), it.place.clone())).collect(),
        image: fields.text("image"),
        build: fields
            .read("build", |node, name, findings| build(node, name, surroundings, findings)),
        environment,
        mounts: mounts(&mut fields, surroundings),
        ports: fields
            .read("ports", |node, name, findings| {
                read::list(node, name, findings, volume::read_port)
            })
            .unwrap_or_default(),
        depends_on: fields
            .read("depends_on", |node, name, findings| read::map(node, name, findings, dependency))
            .unwrap_or_default(),
        command: fields.read("command", command),
        entrypoint: fields.read("entrypoint", command),
        healthcheck: fields.read("healthcheck", health::read),
        user: fields.read("user", scalar),
        working_dir: fields.text("working_dir"),
        hostname: fields.read("hostname", names::one),
        aliases: names::aliases(&mut fields),
        exposed: fields
            .read("expose", |node, name, findings| read::list(node, name, findings, exposed))
            .unwrap_or_default(),
        network: fields.read("network_mode", network).unwrap_or_default(),
        init: fields.truth("init").unwrap_or(false),
        privileged: fields.truth("privileged").unwrap_or(false),
        cap_add: fields.texts("cap_add"),
        cap_drop: fields.texts("cap_drop"),
        security_opt: fields.texts("security_opt"),
        labels: fields
            .read("labels", |node, name, findings| {
                values(node, name, surroundings.environment, findings)
            })
            .unwrap_or_default(),
        profiles: fields.texts("profiles"),
        restart: fields.read("restart", restart).unwrap_or_default(),
        may_pull: fields.read("pull_policy", may_pull).unwrap_or(true),
        read_only: fields.truth("read_only").unwrap_or(false),
        shared_memory: fields.read("shm_size", limits::bytes),
        limits: limits::read(&mut fields),
    };
    for key in IDLE {
        fields.get(key);
    }
    if service.image.is_none() && service.build.is_none() {
        let what = format!("the service `{name}` has neither `image` nor `build`: add one");
        fields.findings.refuse(&member.place, what);
    }
    let extensions: Vec<&str> = node
        .members()
        .iter()
        .map(|member| member.key.as_str())
        .filter(|key| key.starts_with("x-"))
        .collect();
    fields.finish_strictly("isn't supported in a service here: remove it", &extensions);
    Some(service)
}

fn mounts(fields: &mut Fields<'_, '_>, surroundings: &Surroundings<'_>) -> Vec<Mount> {
    let mut mounts = fields
        .read("volumes", |node, name, findings| {
            read::list(node, name, findings, |node, name, findings| {
                volume::read(node, name, surroundings.folder, findings)
            })
        })
        .unwrap_or_default();
    mounts.extend(fields.texts("tmpfs").into_iter().map(|target| volume::memory(&target)));
    mounts
}

fn build(
    node: &Node,
    name: &str,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings,
) -> Option<Build> {
    let mut fields = Fields::open(node, name, findings)?;
    let written = fields.text("context").unwrap_or_else(|| ".".to_owned());
    let build = Build {
        dockerfile: fields.text("dockerfile").unwrap_or_else(|| "Dockerfile".to_owned()),
        context: written.clone(),
        args: fields
            .read("args", |node, name, findings| {
                values(node, name, surroundings.environment, findings)
            })
            .unwrap_or_default(),
        target: fields.text("target"),
        cache_from: fields.texts("cache_from"),
        options: Vec::new(),
    };
    fields.finish_strictly("isn't supported in `build` here: remove it", &[]);
    let root = surroundings.reading.root;
    let context = within(surroundings.folder, &written, root, &node.place, findings)?;
    Some(Build { context, ..build })
}

/// Values by name; one without a value is taken from the variables that files may use, or left out.
fn values(
    node: &Node,
    name: &str,
    environment: &BTreeMap<String, String>,
    findings: &mut Findings,
) -> Option<IndexMap<String, String>> {
    if !node.is_object() {
        wrong_type(node, name, "an object or a list of NAME=value", findings);
        return None;
    }
    let mut values = IndexMap::new();
    for member in node.members() {
        let value = match &member.node.value {
            Value::Null => environment.get(&member.key).cloned(),
            _ => scalar(&member.node, &format!("{name}.{}", member.key), findings),
        };
        values.extend(value.map(|value| (member.key.clone(), value)));
    }
    Some(values)
}

fn environment_files(
    node: &Node,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings,
) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for file in read::texts(node, "env_file", findings).unwrap_or_default() {
        let root = surroundings.reading.root;
        let path = within(surroundings.folder, &file, root, &node.place, findings);
        let text = path
            .and_then(|path| referred(surroundings.reading.files, &path, &node.place, findings));
        pairs.extend(text.iter().flat_map(|text| environment_file(text)));
    }
    pairs
}

/// Reads `NAME=value` lines, with `#` comments and quotes around values.
pub(super) fn environment_file(text: &str) -> Vec<(String, String)> {
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.filter_map(|line| {
        let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        let value = value.trim();
        let quoted = ['"', '\''].iter().find_map(|quote| {
            value.strip_prefix(*quote)?.split_once(*quote).map(|(inside, _)| inside)
        });
        let bare = || value.split(" #").next().unwrap_or(value).trim_end();
        Some((name.trim().to_owned(), quoted.unwrap_or_else(bare).to_owned()))
    });
    pairs.collect()
}

fn scalar(node: &Node, name: &str, findings: &mut Findings) -> Option<String> {
    let scalar = node.scalar().map(|text| text.into_owned());
    if scalar.is_none() {
        wrong_type(node, name, "a string or a number", findings);
    }
    scalar
}

/// A list is a program with its arguments; a string is split into one, without a shell.
fn command(node: &Node, name: &str, findings: &mut Findings) -> Option<Vec<String>> {
    let Some(text) = node.text() else {
        return read::list(node, name, findings, scalar);
    };
    let words = shlex::split(text);
    if words.is_none() {
        findings.refuse(&node.place, format!("`{name}` has a quote that is never closed"));
    }
    words
}

fn dependency(node: &Node, name: &str, findings: &mut Findings) -> Option<Dependency> {
    let mut fields = Fields::open(node, name, findings)?;
    let condition = fields.word("condition", &CONDITIONS).unwrap_or(Condition::Started);
    let required = fields.truth("required").unwrap_or(true);
    fields.truth("restart");
    fields.finish();
    Some(Dependency { condition, required })
}

fn network(node: &Node, name: &str, findings: &mut Findings) -> Option<Network> {
    let text = read::text(node, name, findings)?;
    match text.as_str() {
        "none" => return Some(Network::None),
        "bridge" | "default" => return Some(Network::Project),
        _ => {}
    }
    if let Some(service) = text.strip_prefix("service:") {
        return Some(Network::Of(service.to_owned()));
    }
    let what = format!("`{name}` can't be `{text}`: an environment has its own network; remove it");
    findings.refuse(&node.place, what);
    None
}

fn restart(node: &Node, name: &str, findings: &mut Findings) -> Option<Restart> {
    if node.value == Value::Bool(false) {
        return Some(Restart::Never);
    }
    let text = read::text(node, name, findings)?;
    match text.split(':').next().unwrap_or_default() {
        "no" | "" => Some(Restart::Never),
        "on-failure" => Some(Restart::OnFailure),
        "always" | "unless-stopped" => Some(Restart::Always),
        _ => {
            let what = format!(
                "`{name}` can't be `{text}`: it is one of no, on-failure, always, unless-stopped"
            );
            findings.refuse(&node.place, what);
            None
        }
    }
}

/// Images are fetched when they are not there, whenever that may be.
fn may_pull(node: &Node, name: &str, findings: &mut Findings) -> Option<bool> {
    Some(read::text(node, name, findings)? != "never")
}

/// `5432`, `"5432"`, `"5432/tcp"`.
fn exposed(node: &Node, name: &str, findings: &mut Findings) -> Option<u16> {
    let text = scalar(node, name, findings)?;
    let port = text.split('/').next().and_then(|port| port.parse().ok());
    if port.is_none() {
        findings.refuse(&node.place, format!("`{name}` can't be `{text}`: write one port"));
    }
    port
}

/// A path of the project's, absolute.
fn beside(folder: &str, written: &str) -> String {
    path::join(folder, written)
}
