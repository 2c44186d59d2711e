//! `extends`: a service that begins as another one, of the same file or of one beside it.

use crate::{
    path,
    place::{Findings, Place},
    read::Fields,
    tree::{Member, Node, Value},
};

use super::layer;

/// Reads another file, in the long forms; `None` when it said why it can't.
pub(super) type Load<'a> = &'a mut dyn FnMut(&str, &Place, &mut Findings) -> Option<Node>;

/// The same file with its services laid over what they extend; `None` when it was said why that can't be.
pub(super) fn all(
    file: &str,
    node: &Node,
    load: Load<'_>,
    findings: &mut Findings,
) -> Option<Node> {
    let mut node = node.clone();
    let Some(services) = node.get("services").filter(|services| services.is_object()) else {
        return Some(node);
    };
    let mut whole = services.clone();
    for member in services.members().iter().filter(|it| it.node.get("extends").is_some()) {
        let mut open = vec![(file.to_owned(), member.key.clone())];
        whole.set(&member.key, extended(file, services, member, &mut open, load, findings)?);
    }
    node.set("services", whole);
    Some(node)
}

fn extended(
    file: &str,
    services: &Node,
    member: &Member,
    open: &mut Vec<(String, String)>,
    load: Load<'_>,
    findings: &mut Findings,
) -> Option<Node> {
    let mut own = member.node.clone();
    let Some(extends) = own.remove("extends") else { return Some(own) };
    let (other, name) = target(file, &extends, findings)?;
    let next = (other.clone(), name.clone());
    if let Some(at) = open.iter().position(|one| *one == next) {
        let names: Vec<&str> = open[at..].iter().map(|(_, name)| name.as_str()).collect();
        let what = format!(
            "services extend each other: {} -> {name}; break the circle",
            names.join(" -> ")
        );
        findings.refuse(&extends.place, what);
        return None;
    }
    let loaded;
    let services = if other == file {
        services
    } else {
        loaded = load(&other, &extends.place, findings)?.get("services").cloned();
        loaded.as_ref().unwrap_or(services)
    };
    let Some(base) = services.members().iter().find(|member| member.key == name) else {
        let what = format!("`extends` names `{name}`, which isn't a service of {other}");
        findings.refuse(&extends.place, what);
        return None;
    };
    open.push(next);
    let base = extended(&other, services, base, open, load, findings)?;
    open.pop();
    Some(layer::merge(&base, &own, ""))
}

/// Which service of which file. Paths in that file would be relative to its folder, so it has to be the
/// same one.
fn target(file: &str, node: &Node, findings: &mut Findings) -> Option<(String, String)> {
    if let Value::Text(name) = &node.value {
        return Some((file.to_owned(), name.clone()));
    }
    let mut fields = Fields::open(node, "extends", findings)?;
    let (name, other) = (fields.text("service"), fields.text("file"));
    fields.finish_strictly("isn't supported in `extends`: remove it", &[]);
    let Some(name) = name else {
        findings.refuse(&node.place, "`extends` names no `service`: add it");
        return None;
    };
    let folder = path::parent(file);
    let other = other.map_or_else(|| file.to_owned(), |other| path::join(folder, &other));
    if path::parent(&other) != folder {
        let what = format!("`extends` names {other}, which lies in another folder: move it here");
        findings.refuse(&node.place, what);
        return None;
    }
    Some((other, name))
}
