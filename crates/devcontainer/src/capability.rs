//! What a backend can honour, and what of a definition it can't: said before anything starts, with the
//! place, never found out halfway.

mod run_arguments;
mod services;

use serde::Serialize;

use crate::{
    compose,
    configuration::{Base, Configuration, Gpu, HostRequirements, Mount, MountKind},
    merge::Merged,
    path,
    place::{Findings, Place},
    read::place_of,
    tree::Node,
};

pub use run_arguments::{RunOption, run_options};

/// What a backend can honour on one machine, under one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// What messages call it: `process`, `oci`.
    pub backend: String,
    /// What it can start from.
    pub bases: Bases,
    /// Whether Features can be installed.
    pub features: bool,
    /// Folders of the host that may be bound, with everything below them.
    pub binds: Vec<String>,
    /// Whether named volumes can be mounted.
    pub volumes: bool,
    /// What happens to arguments for `docker run`.
    pub run_arguments: RunArguments,
    /// Whether a container may have all rights.
    pub privileged: bool,
    /// Capabilities that may be added, such as `SYS_PTRACE`.
    pub added: Vec<String>,
    /// Whether options for an engine's security can be applied.
    pub security_options: bool,
    /// Whether another user than the container's root can be had.
    pub users: bool,
    /// Whether `initializeCommand` can run in a throw-away place instead of on the host.
    pub initialize: bool,
    /// What the machine has to give.
    pub machine: Machine,
    /// The name of the class by which it gives that; absent where nobody speaks of classes.
    pub class: Option<String>,
    /// All classes that can be chosen.
    pub classes: Vec<Class>,
}

/// A class of environments that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// What it gives.
    pub machine: Machine,
}

/// What a backend can start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bases {
    /// Ready images.
    pub images: bool,
    /// Dockerfiles.
    pub dockerfiles: Dockerfiles,
    /// Services of a Compose file.
    pub compose: bool,
}

/// Which Dockerfiles can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Dockerfiles {
    /// All: an engine builds them.
    All,
    /// Those that [`crate::dockerfile`] can plan.
    Subset,
    /// None.
    None,
}

/// What happens to arguments for `docker run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum RunArguments {
    /// There is no `docker run`: they are told and ignored.
    Ignored,
    /// Options, such as `--shm-size`, are passed on or dropped with a warning; others are refused.
    Listed {
        /// What is passed on.
        passed: Vec<String>,
        /// What the platform decides itself.
        dropped: Vec<String>,
    },
}

/// What a machine has to give. 0 is unknown and promises nothing against it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Processors, in thousandths.
    pub cpu_millis: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Disk in bytes.
    pub storage: u64,
    /// Whether there is a graphics processor.
    pub gpu: bool,
}

impl Capabilities {
    /// Our own namespaces, without an engine: Features run into a layer, Dockerfiles by the subset.
    pub fn process(machine: Machine) -> Self {
        Self {
            backend: "process".to_owned(),
            bases: Bases { images: true, dockerfiles: Dockerfiles::Subset, compose: false },
            features: true,
            binds: Vec::new(),
            volumes: true,
            run_arguments: RunArguments::Ignored,
            privileged: false,
            added: Vec::new(),
            security_options: false,
            users: true,
            initialize: false,
            machine,
            class: None,
            classes: Vec::new(),
        }
    }

    /// A container engine with Docker's API.
    pub fn oci(machine: Machine) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            backend: "oci".to_owned(),
            bases: Bases { images: true, dockerfiles: Dockerfiles::All, compose: true },
            run_arguments: RunArguments::Listed {
                passed: owned(&run_arguments::PASSED),
                dropped: owned(&run_arguments::DROPPED),
            },
            added: owned(&["SYS_PTRACE"]),
            ..Self::process(machine)
        }
    }
}

/// A definition as it was read, with the trees that know the places.
#[derive(Clone, Copy, Debug)]
pub struct Definition<'a> {
    /// The configuration.
    pub configuration: &'a Configuration,
    /// Its tree.
    pub configuration_node: &'a Node,
    /// What applies in the end.
    pub merged: &'a Merged,
    /// Its tree.
    pub merged_node: &'a Node,
    /// The mount that brings the project inside, if one does.
    pub workspace_mount: Option<&'a str>,
    /// The folder outside that holds the project.
    pub workspace_root: &'a str,
    /// The services, if there are some.
    pub compose: Option<&'a compose::Project>,
}

/// Says everything of a definition that a backend can't honour, or only otherwise than written.
pub fn check(definition: &Definition<'_>, can: &Capabilities, findings: &mut Findings) {
    base(definition, can, findings);
    host_side(definition, can, findings);
    rights(definition, can, findings);
    mounts(definition, can, findings);
    run_arguments::check(definition, can, findings);
    services::check(definition, can, findings);
    machine(definition, can, findings);
}

fn base(definition: &Definition<'_>, can: &Capabilities, findings: &mut Findings) {
    let node = definition.configuration_node;
    let backend = &can.backend;
    match &definition.configuration.base {
        Base::Default => {}
        Base::Image(_) if can.bases.images => {}
        Base::Image(_) => findings.refuse(
            place_of(node, "image"),
            format!("the backend `{backend}` starts no images: choose the backend `oci`"),
        ),
        Base::Dockerfile(_) if can.bases.dockerfiles != Dockerfiles::None => {}
        Base::Dockerfile(_) => {
            let key = if node.get("build").is_some() { "build" } else { "dockerFile" };
            findings.refuse(
                place_of(node, key),
                format!("the backend `{backend}` builds no Dockerfiles: name an `image`"),
            );
        }
        Base::Compose(_) if can.bases.compose => {}
        Base::Compose(_) => findings.refuse(
            place_of(node, "dockerComposeFile"),
            format!(
                "the backend `{backend}` runs no Compose services: choose the backend `oci`, or \
                 name an `image` and describe the services in .windlass/environment.yaml"
            ),
        ),
    }
    if !can.features && !definition.configuration.features.is_empty() {
        let what = format!("the backend `{backend}` installs no Features: put them in the image");
        findings.refuse(place_of(node, "features"), what);
    }
}

fn host_side(definition: &Definition<'_>, can: &Capabilities, findings: &mut Findings) {
    if definition.configuration.initialize_command.is_some() && !can.initialize {
        findings.refuse(
            place_of(definition.configuration_node, "initializeCommand"),
            "`initializeCommand` would run outside of the environment, on the runner, and doesn't: \
             move what it does to `onCreateCommand`",
        );
    }
    if !definition.configuration.app_port.is_empty() {
        findings.warn(
            place_of(definition.configuration_node, "appPort"),
            "`appPort` publishes nothing on the host; the ports are reached as `forwardPorts` are",
        );
    }
}

fn rights(definition: &Definition<'_>, can: &Capabilities, findings: &mut Findings) {
    let (settings, node) = (&definition.merged.settings, definition.merged_node);
    let backend = &can.backend;
    if settings.privileged == Some(true) && !can.privileged {
        let what = format!(
            "`privileged` gives all rights over the machine and isn't allowed on the backend \
             `{backend}`: remove it, or name the one capability that is needed in `capAdd`"
        );
        findings.refuse(place_of(node, "privileged"), what);
    }
    for (i, capability) in settings.cap_add.iter().enumerate() {
        added(capability, element(node, "capAdd", i), can, findings);
    }
    for (i, option) in settings.security_opt.iter().enumerate() {
        security_option(option, element(node, "securityOpt", i), can, findings);
    }
    for (key, user) in
        [("remoteUser", &settings.remote_user), ("containerUser", &settings.container_user)]
    {
        let user = user.as_deref().unwrap_or("root");
        if !can.users && !matches!(user, "root" | "0") {
            let what = format!("the backend `{backend}` can't be `{user}` here and runs as root");
            findings.warn(place_of(node, key), what);
        }
    }
}

fn added(capability: &str, place: &Place, can: &Capabilities, findings: &mut Findings) {
    let bare = capability.to_uppercase();
    let bare = bare.strip_prefix("CAP_").unwrap_or(&bare);
    if !can.added.iter().any(|allowed| allowed == bare) {
        let what = format!(
            "the capability `{capability}` isn't allowed on the backend `{}`: remove it or ask the \
             operator to allow it",
            can.backend
        );
        findings.refuse(place, what);
    }
}

/// More confinement than asked for does no harm; less would.
fn security_option(option: &str, place: &Place, can: &Capabilities, findings: &mut Findings) {
    if can.security_options {
        return;
    }
    if option.contains("unconfined") || option.contains("disable") {
        let what = format!("`{option}` takes confinement away, which isn't allowed: remove it");
        findings.refuse(place, what);
    } else {
        let backend = &can.backend;
        let what =
            format!("`{option}` is for an engine; the backend `{backend}` has its own rules");
        findings.warn(place, what);
    }
}

fn mounts(definition: &Definition<'_>, can: &Capabilities, findings: &mut Findings) {
    let node = definition.merged_node;
    for (i, mount) in definition.merged.settings.mounts.iter().enumerate() {
        one_mount(mount, element(node, "mounts", i), definition, can, findings);
    }
    if let Some(text) = definition.workspace_mount.filter(|text| !text.is_empty()) {
        let place = place_of(definition.configuration_node, "workspaceMount");
        match Mount::parse(text) {
            Ok(mount) => one_mount(&mount, place, definition, can, findings),
            Err(what) => findings.refuse(place, format!("`workspaceMount` {what}")),
        }
    }
}

fn one_mount(
    mount: &Mount,
    place: &Place,
    definition: &Definition<'_>,
    can: &Capabilities,
    findings: &mut Findings,
) {
    let source = mount.source.as_deref().unwrap_or("");
    if !mount.target.starts_with('/') {
        let what = format!("the target `{}` isn't absolute: begin it with /", mount.target);
        findings.refuse(place, what);
    }
    match mount.kind {
        MountKind::Tmpfs => {}
        MountKind::Volume if can.volumes => {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            if !source.chars().all(is_name) || source.starts_with(['.', '-']) {
                let what = format!("`{source}` is no volume's name: use letters, digits and `_.-`");
                findings.refuse(place, what);
            }
        }
        MountKind::Volume => {
            let what = format!("the backend `{}` has no volumes: remove the mount", can.backend);
            findings.refuse(place, what);
        }
        MountKind::Bind => {
            let source = path::tidy(source);
            let is_allowed = path::is_within(&source, definition.workspace_root)
                || can.binds.iter().any(|folder| path::is_within(&source, folder));
            if source.starts_with('/') && is_allowed {
                return;
            }
            let what = format!(
                "`{source}` is a folder of the host, which an environment doesn't see: use a \
                 volume (`type=volume`), or ask the operator to allow the folder"
            );
            findings.refuse(place, what);
        }
    }
}

fn machine(definition: &Definition<'_>, can: &Capabilities, findings: &mut Findings) {
    let Some(needs) = &definition.merged.settings.host_requirements else { return };
    let Some(node) = definition.merged_node.get("hostRequirements") else { return };
    for (key, lacks) in lacks(needs, &can.machine) {
        let gives = match &can.class {
            Some(class) => format!("the class `{class}` gives"),
            None => "this machine gives".to_owned(),
        };
        let what =
            format!("needs {}, {gives} {}: {}", lacks.needed, lacks.there, remedy(needs, can));
        findings.refuse(place_of(node, key), what);
    }
}

/// One thing of which there is not enough.
struct Lack {
    needed: String,
    there: String,
}

fn lacks(needs: &HostRequirements, has: &Machine) -> Vec<(&'static str, Lack)> {
    let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
    let memory = |bytes: u64| format!("{} of memory", mib(bytes));
    let disk = |bytes: u64| format!("{} of disk", mib(bytes));
    type Amount<'a> = (&'static str, u64, u64, &'a dyn Fn(u64) -> String);
    let amounts: [Amount<'_>; 3] = [
        ("cpus", needs.cpus.saturating_mul(1000), has.cpu_millis, &processors),
        ("memory", needs.memory, has.memory, &memory),
        ("storage", needs.storage, has.storage, &disk),
    ];
    let mut lacks: Vec<(&'static str, Lack)> = amounts
        .into_iter()
        .filter(|(_, needed, there, _)| *there > 0 && needed > there)
        .map(|(key, needed, there, words)| {
            (key, Lack { needed: words(needed), there: words(there) })
        })
        .collect();
    if matches!(needs.gpu, Some(Gpu::Required { .. })) && !has.gpu {
        let needed = "a graphics processor".to_owned();
        lacks.push(("gpu", Lack { needed, there: "none".to_owned() }));
    }
    lacks
}

fn processors(millis: u64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} {}", if millis == 1000 { "processor" } else { "processors" })
}

/// Which class would do.
fn remedy(needs: &HostRequirements, can: &Capabilities) -> String {
    let would_do = can.classes.iter().filter(|class| lacks(needs, &class.machine).is_empty());
    let names: Vec<String> = would_do.map(|class| format!("`{}`", class.name)).collect();
    match (&can.class, names.as_slice()) {
        (None, _) => "choose a larger environment class or lower it".to_owned(),
        (Some(_), []) => {
            "no class of the organisation would do: an admin makes one by `windlass class create`, or \
             lower it"
                .to_owned()
        }
        (Some(_), [one]) => format!("the class {one} would do, or lower it"),
        (Some(_), several) => format!("one of the classes {} would do, or lower it", several.join(", ")),
    }
}

/// The place of an element of a list.
fn element<'a>(node: &'a Node, key: &str, index: usize) -> &'a Place {
    let list = node.get(key).and_then(Node::list);
    match list.and_then(|list| list.get(index)) {
        Some(element) => &element.place,
        None => place_of(node, key),
    }
}
