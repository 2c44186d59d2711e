//! The rule of each property.

use std::collections::HashSet;

use crate::{
    configuration::{Hook, bytes, is_truthy},
    place::Place,
    tree::{Member, Node, Value},
};

/// Merges the entries, in their order: of the image, of the Features, of the configuration (its
/// share). What isn't merged is taken from `configuration`.
pub fn merge(configuration: &Node, entries: &[Node]) -> Node {
    let entries: Vec<&Node> = entries.iter().filter(|entry| !entry.members().is_empty()).collect();
    let place = &configuration.place;
    let mut merged = configuration.clone();
    for key in ["customizations", "entrypoint", "shutdownAction"] {
        merged.remove(key);
    }
    for hook in Hook::INSIDE {
        merged.remove(hook.property());
    }
    let mut set = |key: &str, node: Option<Node>| match node {
        Some(node) => merged.set(key, node),
        None => {
            merged.remove(key);
        }
    };
    set("init", Some(any(place, &entries, "init")));
    set("privileged", Some(any(place, &entries, "privileged")));
    set("capAdd", union(&entries, "capAdd"));
    set("securityOpt", union(&entries, "securityOpt"));
    set("entrypoints", non_empty(place, collect(&entries, "entrypoint")));
    set("mounts", mounts(&entries));
    set("customizations", customizations(place, &entries));
    for hook in Hook::INSIDE {
        let commands = collect(&entries, hook.property());
        set(hook.merged_property(), Some(Node::new(place, Value::List(commands))));
    }
    for key in ["waitFor", "remoteUser", "containerUser", "userEnvProbe", "shutdownAction"] {
        set(key, last(&entries, key, is_truthy));
    }
    set("otherPortsAttributes", last(&entries, "otherPortsAttributes", is_truthy));
    for key in ["overrideCommand", "updateRemoteUserUID"] {
        set(key, last(&entries, key, |node| matches!(node.value, Value::Bool(_))));
    }
    for key in ["remoteEnv", "containerEnv", "portsAttributes"] {
        set(key, Some(by_key(place, &entries, key)));
    }
    set("forwardPorts", forward_ports(&entries));
    set("hostRequirements", host_requirements(place, &entries));
    merged
}

/// True if one entry says so.
fn any(place: &Place, entries: &[&Node], key: &str) -> Node {
    let found = entries.iter().filter_map(|entry| entry.get(key)).find(|node| is_truthy(node));
    Node::new(found.map_or(place, |node| &node.place), Value::Bool(found.is_some()))
}

/// What the last entry says that says something.
fn last(entries: &[&Node], key: &str, says: impl Fn(&Node) -> bool) -> Option<Node> {
    entries.iter().rev().filter_map(|entry| entry.get(key)).find(|node| says(node)).cloned()
}

/// What all entries say, in order.
fn collect(entries: &[&Node], key: &str) -> Vec<Node> {
    let said = entries.iter().filter_map(|entry| entry.get(key));
    said.filter(|node| is_truthy(node)).cloned().collect()
}

/// All elements of all lists, each once.
fn union(entries: &[&Node], key: &str) -> Option<Node> {
    let lists: Vec<Node> = collect(entries, key);
    let place = lists.first()?.place.clone();
    let mut all: Vec<Node> = Vec::new();
    for node in lists.iter().flat_map(|list| list.list().unwrap_or(&[])) {
        if !all.iter().any(|other| other.value == node.value) {
            all.push(node.clone());
        }
    }
    non_empty(&place, all)
}

/// Per key, the last entry counts.
fn by_key(place: &Place, entries: &[&Node], key: &str) -> Node {
    let mut all = Node::new(place, Value::Object(Vec::new()));
    for entry in entries {
        for member in entry.get(key).map(Node::members).unwrap_or(&[]) {
            all.set(&member.key, member.node.clone());
        }
    }
    all
}

/// Each tool gets the list of what the entries say to it.
fn customizations(place: &Place, entries: &[&Node]) -> Option<Node> {
    let mut tools: Vec<Member> = Vec::new();
    for entry in entries {
        for member in entry.get("customizations").map(Node::members).unwrap_or(&[]) {
            match tools.iter_mut().find(|tool| tool.key == member.key) {
                Some(Member { node: Node { value: Value::List(said), .. }, .. }) => {
                    said.push(member.node.clone());
                }
                _ => tools.push(Member {
                    key: member.key.clone(),
                    place: member.place.clone(),
                    node: Node::new(&member.node.place, Value::List(vec![member.node.clone()])),
                }),
            }
        }
    }
    (!tools.is_empty()).then(|| Node::new(place, Value::Object(tools)))
}

/// All mounts; of those with the same target, the last.
fn mounts(entries: &[&Node]) -> Option<Node> {
    let lists = collect(entries, "mounts");
    let place = lists.first()?.place.clone();
    let mut seen = HashSet::new();
    let mut kept: Vec<Node> = lists
        .iter()
        .flat_map(|list| list.list().unwrap_or(&[]))
        .rev()
        .filter(|mount| seen.insert(target(mount)))
        .cloned()
        .collect();
    kept.reverse();
    non_empty(&place, kept)
}

fn target(mount: &Node) -> Option<String> {
    let Some(text) = mount.text() else {
        return mount.get("target").and_then(Node::text).map(str::to_owned);
    };
    let mut target = None;
    for field in text.split(',') {
        let mut parts = field.split('=');
        if let Some("target" | "destination" | "dst") = parts.next() {
            target = parts.next().map(str::to_owned);
        }
    }
    target
}

/// All ports, each once; `localhost:3000` is `3000`.
fn forward_ports(entries: &[&Node]) -> Option<Node> {
    let lists = collect(entries, "forwardPorts");
    let place = lists.first()?.place.clone();
    let mut all: Vec<Node> = Vec::new();
    for node in lists.iter().flat_map(|list| list.list().unwrap_or(&[])) {
        let number = node
            .text()
            .and_then(|text| text.strip_prefix("localhost:"))
            .and_then(|port| port.parse::<u64>().ok());
        let value = number.map_or(node.value.clone(), |port| Value::Number(port.into()));
        if !all.iter().any(|other| other.value == value) {
            all.push(Node::new(&node.place, value));
        }
    }
    non_empty(&place, all)
}

/// The most of each.
fn host_requirements(place: &Place, entries: &[&Node]) -> Option<Node> {
    let said = collect(entries, "hostRequirements");
    let whole = said.last().map_or(place, |node| &node.place);
    let most = |key: &str, read: fn(&Node) -> u64| {
        let said = said.iter().filter_map(|node| node.get(key));
        let most = said.map(|node| (read(node), &node.place)).max_by_key(|(most, _)| *most);
        most.unwrap_or((0, whole))
    };
    let cpus = most("cpus", number);
    let sizes = ["memory", "storage"].map(|key| (key, most(key, size)));
    // Who says nothing takes a `false` away, but nothing else.
    let wishes = entries.iter().map(|entry| entry.get("hostRequirements")?.get("gpu"));
    let gpu = wishes.fold(None, graphics);
    let has_gpu = gpu.as_ref().is_some_and(is_truthy);
    if cpus.0 == 0 && sizes.iter().all(|(_, (size, _))| *size == 0) && !has_gpu {
        return None;
    }
    let mut merged = Node::new(whole, Value::Object(Vec::new()));
    merged.set("cpus", Node::new(cpus.1, Value::Number(cpus.0.into())));
    for (key, (size, place)) in sizes {
        if size > 0 {
            merged.set(key, Node::new(place, Value::Text(size.to_string())));
        }
    }
    if let Some(gpu) = gpu {
        merged.set("gpu", gpu);
    }
    Some(merged)
}

/// One graphics processor that is enough for both: optional only if it is to both.
fn graphics(first: Option<Node>, second: Option<&Node>) -> Option<Node> {
    let Some(first) = first.filter(is_truthy) else { return second.cloned() };
    let Some(second) = second.filter(|node| is_truthy(node)) else { return Some(first) };
    if first.text() == Some("optional") && second.text() == Some("optional") {
        return Some(first);
    }
    let most = |key: &str, read: fn(&Node) -> u64| {
        [&first, second].into_iter().filter_map(|node| node.get(key)).map(read).max().unwrap_or(0)
    };
    let place = &second.place;
    let mut merged = Node::new(place, Value::Object(Vec::new()));
    let cores = most("cores", number);
    if cores > 0 {
        merged.set("cores", Node::new(place, Value::Number(cores.into())));
    }
    let memory = most("memory", size);
    if memory > 0 {
        merged.set("memory", Node::new(place, Value::Text(memory.to_string())));
    }
    Some(merged)
}

fn number(node: &Node) -> u64 {
    crate::read::whole(node, "", &mut crate::place::Findings::default()).unwrap_or(0)
}

fn size(node: &Node) -> u64 {
    let text = node.text().unwrap_or("0");
    bytes(text).or_else(|| bytes(&text.to_lowercase().replace(' ', ""))).unwrap_or(0)
}

fn non_empty(place: &Place, nodes: Vec<Node>) -> Option<Node> {
    (!nodes.is_empty()).then(|| Node::new(place, Value::List(nodes)))
}
