//! Mounts, as text for `docker run --mount` or as an object.

use indexmap::IndexMap;
use serde::Serialize;

use crate::{
    place::Findings,
    read::{self, Fields},
    tree::{Node, Value},
};

/// Something mounted inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// What kind.
    pub kind: MountKind,
    /// The folder of the host or the name of the volume; `None` for a nameless volume or a tmpfs.
    pub source: Option<String>,
    /// Where inside.
    pub target: String,
    /// Whether it may be written.
    pub read_only: bool,
    /// What else was said, such as `consistency` or `volume-opt`.
    pub options: IndexMap<String, String>,
}

/// What kind of mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MountKind {
    /// A folder of the host.
    Bind,
    /// A volume that the backend keeps.
    Volume,
    /// Memory.
    Tmpfs,
}

const KINDS: [(&str, MountKind); 3] =
    [("bind", MountKind::Bind), ("volume", MountKind::Volume), ("tmpfs", MountKind::Tmpfs)];

pub(crate) fn read(node: &Node, name: &str, findings: &mut Findings) -> Option<Mount> {
    match &node.value {
        Value::Text(text) => match Mount::parse(text) {
            Ok(mount) => Some(mount),
            Err(what) => {
                findings.refuse(&node.place, format!("`{name}` {what}"));
                None
            }
        },
        Value::Object(_) => {
            let mut fields = Fields::open(node, name, findings)?;
            let kind = fields.word("type", &KINDS).unwrap_or(MountKind::Volume);
            let source = fields.text("source");
            let target = fields.text("target");
            let read_only = fields.truth("readonly").unwrap_or(false);
            fields.get("external");
            fields.finish();
            let Some(target) = target else {
                findings
                    .refuse(&node.place, format!("`{name}` has no `target`: add the path inside"));
                return None;
            };
            Some(Mount { kind, source, target, read_only, options: IndexMap::new() })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) => {
            read::wrong_type(node, name, "a string or an object", findings);
            None
        }
    }
}

impl Mount {
    /// Reads `type=bind,source=...,target=...`. A field with a comma in it stands in double quotes.
    ///
    /// # Errors
    /// What is wrong with it, to be read after the property's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut mount = Self {
            kind: MountKind::Volume,
            source: None,
            target: String::new(),
            read_only: false,
            options: IndexMap::new(),
        };
        for field in fields(text) {
            let (key, value) = field.split_once('=').unwrap_or((&field, ""));
            match key.trim() {
                "type" => match KINDS.iter().find(|(word, _)| *word == value) {
                    Some((_, kind)) => mount.kind = *kind,
                    None => {
                        return Err(format!(
                            "is of the unknown type `{value}`: it is one of bind, volume, tmpfs"
                        ));
                    }
                },
                "source" | "src" => mount.source = Some(value.to_owned()),
                "target" | "destination" | "dst" => value.clone_into(&mut mount.target),
                "readonly" | "ro" => mount.read_only = !matches!(value, "false" | "0"),
                "" => {}
                key => {
                    mount.options.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        if mount.target.is_empty() {
            return Err("has no `target`: add `target=` and the path inside".to_owned());
        }
        mount.source = mount.source.filter(|source| !source.is_empty());
        if mount.kind == MountKind::Bind && mount.source.is_none() {
            return Err("binds nothing: add `source=` and the path outside".to_owned());
        }
        Ok(mount)
    }
}

fn fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => {
                if let Some(field) = fields.last_mut() {
                    field.push(c);
                }
            }
        }
    }
    fields
}
