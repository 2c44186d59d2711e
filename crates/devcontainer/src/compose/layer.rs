//! Several files as one: later files add to earlier ones, by the rules of each key.

use crate::{
    place::Place,
    tree::{Member, Node, Value},
};

/// Brings the short forms of services into the long ones, so that they can be merged.
pub(super) fn normal(file: &Node) -> Node {
    let mut file = file.clone();
    let Some(mut services) = file.remove("services") else { return file };
    if let Value::Object(members) = &mut services.value {
        for member in members {
            service(&mut member.node);
        }
    }
    file.set("services", services);
    file
}

fn service(node: &mut Node) {
    for key in ["environment", "labels"] {
        with(node, key, pairs_to_map);
    }
    with(node, "depends_on", |node| {
        let started = |place: &Place| {
            let condition = Node::new(place, Value::Text("service_started".to_owned()));
            let mut long = Node::new(place, Value::Object(Vec::new()));
            long.set("condition", condition);
            long
        };
        names_to_map(node, started)
    });
    with(node, "networks", |node| names_to_map(node, |place| Node::new(place, Value::Null)));
    with(node, "build", |node| {
        let mut build = match node.text() {
            Some(_) => {
                let mut build = Node::new(&node.place, Value::Object(Vec::new()));
                build.set("context", node.clone());
                build
            }
            None => node.clone(),
        };
        with(&mut build, "args", pairs_to_map);
        build
    });
    for key in ["env_file", "tmpfs"] {
        with(node, key, |node| match node.text() {
            Some(_) => Node::new(&node.place, Value::List(vec![node.clone()])),
            None => node.clone(),
        });
    }
}

fn with(node: &mut Node, key: &str, change: impl FnOnce(&Node) -> Node) {
    if let Some(value) = node.get(key) {
        let changed = change(value);
        node.set(key, changed);
    }
}

/// `[NAME=value, NAME]` as `{NAME: value, NAME: null}`.
fn pairs_to_map(node: &Node) -> Node {
    let Some(list) = node.list() else { return node.clone() };
    if list.iter().any(|element| element.text().is_none()) {
        return node.clone();
    }
    let mut map = Node::new(&node.place, Value::Object(Vec::new()));
    for element in list {
        let text = element.text().unwrap_or("");
        match text.split_once('=') {
            Some((name, value)) => {
                map.set(name, Node::new(&element.place, Value::Text(value.to_owned())));
            }
            None => map.set(text, Node::new(&element.place, Value::Null)),
        }
    }
    map
}

fn names_to_map(node: &Node, long: impl Fn(&Place) -> Node) -> Node {
    let Some(list) = node.list() else { return node.clone() };
    if list.iter().any(|element| element.text().is_none()) {
        return node.clone();
    }
    let members = list.iter().map(|element| Member {
        key: element.text().unwrap_or("").to_owned(),
        place: element.place.clone(),
        node: long(&element.place),
    });
    Node::new(&node.place, Value::Object(members.collect()))
}

/// Lays `above` over `below`; `key` is the one they both stand at.
pub(super) fn merge(below: &Node, above: &Node, key: &str) -> Node {
    match (&below.value, &above.value) {
        // Commands are replaced as wholes.
        _ if matches!(key, "command" | "entrypoint" | "test") => above.clone(),
        (Value::Object(_), Value::Object(members)) => {
            let mut merged = below.clone();
            for member in members {
                let node = match below.get(&member.key) {
                    Some(below) => merge(below, &member.node, &member.key),
                    None => member.node.clone(),
                };
                merged.set(&member.key, node);
            }
            merged
        }
        (Value::List(lower), Value::List(upper)) => {
            let is_replaced = |node: &Node| {
                let same = |other: &Node| match key {
                    "volumes" => target(other).is_some() && target(other) == target(node),
                    _ => other.value == node.value,
                };
                upper.iter().any(same)
            };
            let kept = lower.iter().filter(|node| !is_replaced(node));
            Node::new(&above.place, Value::List(kept.chain(upper).cloned().collect()))
        }
        (_, Value::Null) => below.clone(),
        _ => above.clone(),
    }
}

/// Where a volume is mounted.
fn target(volume: &Node) -> Option<&str> {
    match volume.text() {
        Some(text) => {
            let mut parts = text.split(':');
            let first = parts.next()?;
            Some(parts.next().unwrap_or(first))
        }
        None => volume.get("target").and_then(Node::text),
    }
}
