//! Names by which a service is found in the network.

use crate::{
    place::Findings,
    read::{self, Fields},
    tree::{Node, Value},
};

/// Whether it can be the name of a service, a volume or a host: it comes to stand in tables of hosts.
pub(in super::super) fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

pub(super) fn one(node: &Node, name: &str, findings: &mut Findings) -> Option<String> {
    let text = read::text(node, name, findings)?;
    if is_name(&text) {
        return Some(text);
    }
    let what = format!("`{text}` is no name of a host: use letters, digits and `_.-`");
    findings.refuse(&node.place, what);
    None
}

/// The names besides the service's own: of its networks. Other services are found without `links`, but
/// under the names that these give them.
pub(super) fn aliases(fields: &mut Fields<'_, '_>) -> Vec<String> {
    let Some(node) = fields.get("networks") else { return Vec::new() };
    let mut aliases = Vec::new();
    for member in node.members() {
        if member.node.value == Value::Null {
            continue;
        }
        let name = format!("networks.{}", member.key);
        let Some(mut network) = Fields::open(&member.node, &name, fields.findings) else {
            continue;
        };
        let more =
            network.read("aliases", |node, name, findings| read::list(node, name, findings, one));
        aliases.extend(more.unwrap_or_default());
        for key in ["priority", "interface_name"] {
            network.get(key);
        }
        network.finish_strictly("isn't supported in a network here: remove it", &[]);
    }
    aliases
}
