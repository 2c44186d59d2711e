//! What `devcontainer.json`, an image's label and a Feature can all say, and what is merged.

use indexmap::IndexMap;
use serde::Serialize;

use super::{
    Command, ForwardPort, Hook, HostRequirements, Mount, PortAttributes, command, host, mount, port,
};
use crate::{
    place::Findings,
    read::{self, Fields},
    tree::{Node, Value},
};

/// What `devcontainer.json`, an image's label and a Feature can all say.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The commands of the hooks that run inside.
    pub commands: IndexMap<Hook, Command>,
    /// The hook that must be done before the environment counts as ready.
    pub wait_for: Option<Hook>,
    /// Mounts besides the project.
    pub mounts: Vec<Mount>,
    /// Variables of the container and everything in it.
    pub container_env: IndexMap<String, String>,
    /// Variables of what tools start; `None` removes one.
    pub remote_env: IndexMap<String, Option<String>>,
    /// The user that the container runs as.
    pub container_user: Option<String>,
    /// The user that tools and lifecycle commands run as.
    pub remote_user: Option<String>,
    /// Whether the user's numbers are changed to those of the project's owner outside.
    #[serde(rename = "updateRemoteUserUID")]
    pub update_remote_user_uid: Option<bool>,
    /// Which shell is asked for the user's variables.
    pub user_env_probe: Option<UserEnvProbe>,
    /// Whether an init process reaps orphans.
    pub init: Option<bool>,
    /// Whether the container has all rights.
    pub privileged: Option<bool>,
    /// Capabilities to add.
    pub cap_add: Vec<String>,
    /// Options for the engine's security.
    pub security_opt: Vec<String>,
    /// Whether the image's own command gives way to waiting.
    pub override_command: Option<bool>,
    /// What happens when the last tool goes.
    pub shutdown_action: Option<ShutdownAction>,
    /// Ports to make reachable.
    pub forward_ports: Vec<ForwardPort>,
    /// How ports are shown: by port, range, `service:port` or pattern.
    pub ports_attributes: IndexMap<String, PortAttributes>,
    /// How all other ports are shown.
    pub other_ports_attributes: Option<PortAttributes>,
    /// What the machine must have.
    pub host_requirements: Option<HostRequirements>,
    /// What belongs to particular tools, by tool. Kept in the tree, only the names are here.
    pub customizations: Vec<String>,
}

/// Which shell is asked for the user's variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum UserEnvProbe {
    /// None.
    None,
    /// A login shell.
    LoginShell,
    /// An interactive shell.
    InteractiveShell,
    /// A shell that is both.
    LoginInteractiveShell,
}

/// What happens when the last tool goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ShutdownAction {
    /// Nothing.
    None,
    /// The container stops.
    StopContainer,
    /// All services stop.
    StopCompose,
}

const PROBES: [(&str, UserEnvProbe); 4] = [
    ("none", UserEnvProbe::None),
    ("loginShell", UserEnvProbe::LoginShell),
    ("interactiveShell", UserEnvProbe::InteractiveShell),
    ("loginInteractiveShell", UserEnvProbe::LoginInteractiveShell),
];

const SHUTDOWNS: [(&str, ShutdownAction); 3] = [
    ("none", ShutdownAction::None),
    ("stopContainer", ShutdownAction::StopContainer),
    ("stopCompose", ShutdownAction::StopCompose),
];

impl Settings {
    /// Reads the share of `devcontainer.json` or a label's entry.
    pub(crate) fn read(fields: &mut Fields<'_, '_>) -> Self {
        let mut commands = IndexMap::new();
        for hook in Hook::INSIDE {
            if let Some(command) = fields.read(hook.property(), command::read) {
                commands.insert(hook, command);
            }
        }
        Self { commands, ..Self::read_single_valued(fields) }
    }

    /// Reads everything but the commands, whose form differs once they are merged.
    pub(crate) fn read_single_valued(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            commands: IndexMap::new(),
            wait_for: fields.word("waitFor", &Hook::WORDS),
            mounts: fields.read("mounts", list_of(mount::read)).unwrap_or_default(),
            container_env: fields.text_map("containerEnv"),
            remote_env: fields.read("remoteEnv", map_of(text_or_null)).unwrap_or_default(),
            container_user: fields.text("containerUser").filter(|user| !user.is_empty()),
            remote_user: fields.text("remoteUser").filter(|user| !user.is_empty()),
            update_remote_user_uid: fields.truth("updateRemoteUserUID"),
            user_env_probe: fields.word("userEnvProbe", &PROBES),
            init: fields.truth("init"),
            privileged: fields.truth("privileged"),
            cap_add: fields.texts("capAdd"),
            security_opt: fields.texts("securityOpt"),
            override_command: fields.truth("overrideCommand"),
            shutdown_action: fields.word("shutdownAction", &SHUTDOWNS),
            forward_ports: fields
                .read("forwardPorts", list_of(port::read_forward))
                .unwrap_or_default(),
            ports_attributes: fields
                .read("portsAttributes", map_of(port::read_attributes))
                .unwrap_or_default(),
            other_ports_attributes: fields.read("otherPortsAttributes", port::read_attributes),
            host_requirements: fields.read("hostRequirements", host::read),
            customizations: fields.read("customizations", names).unwrap_or_default(),
        }
    }
}

type Read<T> = fn(&Node, &str, &mut Findings) -> Option<T>;

fn list_of<T>(read: Read<T>) -> impl FnOnce(&Node, &str, &mut Findings) -> Option<Vec<T>> {
    move |node, name, findings| read::list(node, name, findings, read)
}

fn map_of<T>(
    read: Read<T>,
) -> impl FnOnce(&Node, &str, &mut Findings) -> Option<IndexMap<String, T>> {
    move |node, name, findings| read::map(node, name, findings, read)
}

fn text_or_null(node: &Node, name: &str, findings: &mut Findings) -> Option<Option<String>> {
    if node.value == Value::Null {
        return Some(None);
    }
    read::text(node, name, findings).map(Some)
}

fn names(node: &Node, name: &str, findings: &mut Findings) -> Option<Vec<String>> {
    let fields = Fields::open(node, name, findings);
    fields.map(|_| node.members().iter().map(|member| member.key.clone()).collect())
}
