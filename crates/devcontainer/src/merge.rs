//! Joins a configuration with what its image's label and its Features bring, by the specification's
//! rules. Merging works on trees, so that the result is what the reference tool prints as its merged
//! configuration and every value still knows where it was written; [`Merged`] are the types over it.

mod rules;

use indexmap::IndexMap;
use serde::Serialize;

use crate::{
    configuration::{Command, Hook, Settings},
    place::{Findings, Place},
    read::{self, Fields},
    tree::{Node, Value},
};

pub use rules::merge;

/// The name of the label in which an image carries its share.
pub const LABEL: &str = "devcontainer.metadata";

/// The share of a configuration that is merged: what an image's label could say too.
const OF_CONFIGURATION: [&str; 24] = [
    "onCreateCommand",
    "updateContentCommand",
    "postCreateCommand",
    "postStartCommand",
    "postAttachCommand",
    "waitFor",
    "customizations",
    "mounts",
    "containerEnv",
    "containerUser",
    "init",
    "privileged",
    "capAdd",
    "securityOpt",
    "remoteUser",
    "userEnvProbe",
    "remoteEnv",
    "overrideCommand",
    "portsAttributes",
    "otherPortsAttributes",
    "forwardPorts",
    "shutdownAction",
    "updateRemoteUserUID",
    "hostRequirements",
];

/// The share of a Feature. Its `containerEnv` is not in it: that is set while it is installed.
const OF_FEATURE: [&str; 12] = [
    "onCreateCommand",
    "updateContentCommand",
    "postCreateCommand",
    "postStartCommand",
    "postAttachCommand",
    "init",
    "privileged",
    "capAdd",
    "securityOpt",
    "entrypoint",
    "mounts",
    "customizations",
];

/// What applies in the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Merged {
    /// Everything that has one value; its `commands` are empty.
    #[serde(flatten)]
    pub settings: Settings,
    /// The commands of each hook in their order, with where they come from.
    pub hooks: IndexMap<Hook, Vec<Sourced>>,
    /// Entry points of Features, run one after the other before the container's own.
    pub entrypoints: Vec<String>,
}

/// A command and the file, label or Feature that brought it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sourced {
    /// Where it is written.
    pub origin: Place,
    /// The command.
    pub command: Command,
}

impl Merged {
    /// Reads the result of [`merge`].
    pub fn read(node: &Node, findings: &mut Findings) -> Self {
        let Some(mut fields) = Fields::open(node, "the merged configuration", findings) else {
            return Self::default();
        };
        let settings = Settings::read_single_valued(&mut fields);
        let mut hooks = IndexMap::new();
        for hook in Hook::INSIDE {
            let commands = fields.read(hook.merged_property(), |node, name, findings| {
                read::list(node, name, findings, |node, name, findings| {
                    let command = crate::configuration::read_command(node, name, findings)?;
                    Some(Sourced { origin: node.place.clone(), command })
                })
            });
            hooks.insert(hook, commands.unwrap_or_default());
        }
        Self { settings, hooks, entrypoints: fields.texts("entrypoints") }
    }
}

/// The share of a configuration that is merged.
pub fn share_of_configuration(configuration: &Node) -> Node {
    pick(configuration, &OF_CONFIGURATION)
}

/// The share of a Feature, from its `devcontainer-feature.json`, under the reference that asked for
/// it.
pub fn share_of_feature(manifest: &Node, reference: &str) -> Node {
    let mut share = pick(manifest, &OF_FEATURE);
    let id = Node::new(&manifest.place, Value::Text(reference.to_owned()));
    share.set("id", id);
    share
}

/// The shares in an image's label: a JSON object or a list of them. What can't be used is told and
/// left out, because the project can't change the image.
pub fn shares_of_label(image: &str, label: &str, findings: &mut Findings) -> Vec<Node> {
    let place = Place::whole(&format!("the label {LABEL} of {image}"));
    let json = match serde_json::from_str::<serde_json::Value>(label) {
        Ok(json) => json,
        Err(error) => {
            findings.warn(&place, format!("it isn't JSON and is ignored: {error}"));
            return Vec::new();
        }
    };
    let node = Node::from_json(&place, &json);
    let entries = match node.value {
        Value::List(entries) => entries,
        Value::Object(_) => vec![node],
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
            findings.warn(&place, "it is neither an object nor a list of them and is ignored");
            return Vec::new();
        }
    };
    entries.into_iter().filter_map(|entry| usable(entry, findings)).collect()
}

/// Leaves out the keys whose values are of the wrong kind.
fn usable(mut entry: Node, findings: &mut Findings) -> Option<Node> {
    if !entry.is_object() {
        findings.warn(&entry.place, format!("an entry is {} and is ignored", entry.kind()));
        return None;
    }
    let place = entry.place.clone();
    let members = entry.members().to_vec();
    for member in members {
        let key = member.key.clone();
        let alone = Node::new(&place, Value::Object(vec![member]));
        let mut complaints = Findings::default();
        if let Some(mut fields) = Fields::open(&alone, "the entry", &mut complaints) {
            Settings::read(&mut fields);
            fields.text("entrypoint");
        }
        if let Err(refused) = complaints.verdict() {
            let what = refused.findings.all().first().map_or("", |finding| &finding.what);
            findings.warn(&place, format!("{what}; it is ignored"));
            entry.remove(&key);
        }
    }
    Some(entry)
}

fn pick(node: &Node, keys: &[&str]) -> Node {
    let members =
        node.members().iter().filter(|member| keys.contains(&member.key.as_str())).cloned();
    Node::new(&node.place, Value::Object(members.collect()))
}
