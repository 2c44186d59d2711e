//! `devcontainer.json` as types: every property of the specification, checked, with nothing decided
//! yet. What unknown keys hold stays in the tree; here they are only told.

mod build;
mod command;
mod host;
mod mount;
mod port;
mod settings;

use indexmap::IndexMap;
use serde::Serialize;

use crate::{
    feature::Options,
    place::Findings,
    read::{self, Fields},
    tree::Node,
};

pub use build::{Base, Build, ComposeChoice};
pub(crate) use command::read as read_command;
pub use command::{Command, Hook, Single};
pub use host::{Gpu, HostRequirements, bytes};
pub use mount::{Mount, MountKind};
pub use port::{ForwardPort, PortAttributes, PortProtocol};
pub use settings::{Settings, ShutdownAction, UserEnvProbe};

/// A whole `devcontainer.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// A name for people.
    pub name: Option<String>,
    /// What the container is made from.
    pub base: Base,
    /// The Features asked for, by the reference as written, with their options.
    pub features: IndexMap<String, Options>,
    /// Features to install first, without version.
    pub override_feature_install_order: Vec<String>,
    /// What an image's label or a Feature could say too. Before merging: only this file's share.
    pub settings: Settings,
    /// The command that the specification wants run on the host.
    pub initialize_command: Option<Command>,
    /// Where the project is inside, as written.
    pub workspace_folder: Option<String>,
    /// How the project gets inside, as written; an empty text means not at all.
    pub workspace_mount: Option<String>,
    /// Ports that Docker should publish, as written.
    pub app_port: Vec<String>,
    /// Arguments for `docker run`.
    pub run_args: Vec<String>,
    /// The secrets that the project would like to have. None is required.
    pub secrets: IndexMap<String, Secret>,
}

/// A secret that a project would like to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// What it is for.
    pub description: Option<String>,
    /// Where to get one.
    pub documentation_url: Option<String>,
}

impl Configuration {
    /// Reads a tree. Wrong types and contradictions are refused, unknown keys told as warnings.
    pub fn read(node: &Node, findings: &mut Findings) -> Self {
        let Some(mut fields) = Fields::open(node, "the configuration", findings) else {
            return Self::default();
        };
        let configuration = Self {
            name: fields.text("name"),
            base: build::read(node, &mut fields),
            features: fields
                .read("features", |node, name, findings| {
                    read::map(node, name, findings, Options::read)
                })
                .unwrap_or_default(),
            override_feature_install_order: fields.texts("overrideFeatureInstallOrder"),
            settings: Settings::read(&mut fields),
            initialize_command: fields.read("initializeCommand", command::read),
            workspace_folder: fields.text("workspaceFolder"),
            workspace_mount: fields.text("workspaceMount"),
            app_port: fields.read("appPort", port::read_published).unwrap_or_default(),
            run_args: fields.texts("runArgs"),
            secrets: fields
                .read("secrets", |node, name, findings| {
                    read::map(node, name, findings, read_secret)
                })
                .unwrap_or_default(),
        };
        // Known, and of no consequence for an environment without an editor.
        for key in ["$schema", "additionalProperties"] {
            fields.get(key);
        }
        fields.finish();
        configuration
    }
}

fn read_secret(node: &Node, name: &str, findings: &mut Findings) -> Option<Secret> {
    let mut fields = Fields::open(node, name, findings)?;
    let secret = Secret {
        description: fields.text("description"),
        documentation_url: fields.text("documentationUrl"),
    };
    fields.finish();
    Some(secret)
}

/// Moves what older files keep at the top (`extensions`, `settings`, `devPort`) below
/// `customizations.vscode`, where later ones keep it.
pub fn modernise(node: &Node) -> Node {
    let mut modern = node.clone();
    let is_set = |key: &str| node.get(key).is_some_and(is_truthy);
    let has_port = node.get("devPort").is_some();
    if !is_set("extensions") && !is_set("settings") && !has_port {
        return modern;
    }
    let empty = Node::new(&node.place, crate::tree::Value::Object(Vec::new()));
    let object_or_empty =
        |node: Option<Node>| node.filter(Node::is_object).unwrap_or(empty.clone());
    if node.get("customizations").is_some_and(|node| is_truthy(node) && !node.is_object()) {
        return modern;
    }
    let mut customizations = object_or_empty(modern.remove("customizations"));
    let mut vscode = object_or_empty(customizations.remove("vscode"));
    if is_set("extensions")
        && let Some(extensions) = modern.remove("extensions")
    {
        let mut all = vscode.get("extensions").and_then(Node::list).unwrap_or(&[]).to_vec();
        match extensions.list() {
            Some(list) => all.extend_from_slice(list),
            None => all.push(extensions.clone()),
        }
        vscode.set("extensions", Node::new(&extensions.place, crate::tree::Value::List(all)));
    }
    if is_set("settings")
        && let Some(mut settings) = modern.remove("settings")
    {
        for member in vscode.get("settings").map(Node::members).unwrap_or(&[]) {
            settings.set(&member.key, member.node.clone());
        }
        vscode.set("settings", settings);
    }
    if vscode.get("devPort").is_none()
        && let Some(port) = modern.remove("devPort")
    {
        vscode.set("devPort", port);
    }
    customizations.set("vscode", vscode);
    modern.set("customizations", customizations);
    modern
}

/// What JavaScript holds to be true, which is what the reference tool asks.
pub(crate) fn is_truthy(node: &Node) -> bool {
    use crate::tree::Value;
    match &node.value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
        Value::Text(text) => !text.is_empty(),
        Value::List(_) | Value::Object(_) => true,
    }
}
