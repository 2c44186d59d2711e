//! Mounts and ports of a service, in their short and long forms.

use indexmap::IndexMap;

use super::{Published, beside};
use crate::{
    configuration::{Mount, MountKind},
    place::Findings,
    read::{self, Fields, wrong_type},
    tree::{Node, Value},
};

/// `source:target:options`, or an object.
pub(super) fn read(
    node: &Node,
    name: &str,
    folder: &str,
    findings: &mut Findings,
) -> Option<Mount> {
    match &node.value {
        Value::Text(text) => short(text, folder).or_else(|| {
            let what =
                format!("`{name}` can't be `{text}`: write source:target or source:target:ro");
            findings.refuse(&node.place, what);
            None
        }),
        Value::Object(_) => long(node, name, folder, findings),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) => {
            wrong_type(node, name, "a string or an object", findings);
            None
        }
    }
}

fn short(text: &str, folder: &str) -> Option<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return None,
    };
    if !target.starts_with('/') || source == Some("") {
        return None;
    }
    let (kind, source) = match source {
        Some(path) if path.starts_with(['.', '/', '~']) => {
            (MountKind::Bind, Some(beside(folder, path)))
        }
        source => (MountKind::Volume, source.map(str::to_owned)),
    };
    let mut mount = Mount {
        kind,
        source,
        target: target.to_owned(),
        read_only: false,
        options: IndexMap::new(),
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => mount.read_only = true,
            "rw" => {}
            option => {
                mount.options.insert(option.to_owned(), String::new());
            }
        }
    }
    Some(mount)
}

fn long(node: &Node, name: &str, folder: &str, findings: &mut Findings) -> Option<Mount> {
    let mut fields = Fields::open(node, name, findings)?;
    let kinds =
        [("bind", MountKind::Bind), ("volume", MountKind::Volume), ("tmpfs", MountKind::Tmpfs)];
    let kind = fields.word("type", &kinds);
    let source = fields.text("source");
    let target = fields.text("target");
    let read_only = fields.truth("read_only").unwrap_or(false);
    for key in ["bind", "volume", "tmpfs", "consistency"] {
        fields.get(key);
    }
    fields.finish_strictly("isn't supported in a mount here: remove it", &[]);
    let (Some(kind), Some(target)) = (kind, target) else {
        findings.refuse(&node.place, format!("`{name}` needs a `type` and a `target`"));
        return None;
    };
    let source = match kind {
        MountKind::Bind => source.map(|source| beside(folder, &source)),
        MountKind::Volume | MountKind::Tmpfs => source,
    };
    Some(Mount { kind, source, target, read_only, options: IndexMap::new() })
}

/// Memory at a path; what follows a `:` are options.
pub(super) fn memory(text: &str) -> Mount {
    let target = text.split(':').next().unwrap_or(text).to_owned();
    let kind = MountKind::Tmpfs;
    Mount { kind, source: None, target, read_only: false, options: IndexMap::new() }
}

/// `[[address:]published:]target[/protocol]`, a number, or an object.
pub(super) fn read_port(node: &Node, name: &str, findings: &mut Findings) -> Option<Published> {
    if node.is_object() {
        let mut fields = Fields::open(node, name, findings)?;
        let target = fields.read("target", read::whole);
        let published = fields.get("published").and_then(Node::scalar);
        let protocol = fields.text("protocol").unwrap_or_else(|| "tcp".to_owned());
        for key in ["host_ip", "mode", "name", "app_protocol"] {
            fields.get(key);
        }
        fields.finish();
        let published = published.and_then(|port| port.parse().ok());
        let target = target.and_then(|port| u16::try_from(port).ok());
        if target.is_none() {
            findings.refuse(&node.place, format!("`{name}` needs a `target`, the port inside"));
        }
        return target.map(|target| Published { target, published, protocol });
    }
    let text = node.scalar().unwrap_or_default();
    let (ports, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
    let mut parts = ports.rsplit(':');
    let target = parts.next().and_then(|port| port.parse().ok());
    let published = parts.next().map(str::parse);
    match (target, published) {
        (Some(target), None) => {
            Some(Published { target, published: None, protocol: protocol.to_owned() })
        }
        (Some(target), Some(Ok(published))) => {
            let published = Some(published);
            Some(Published { target, published, protocol: protocol.to_owned() })
        }
        _ => {
            let what = format!("`{name}` can't be `{text}`: write port, or outer:inner");
            findings.refuse(&node.place, what);
            None
        }
    }
}
