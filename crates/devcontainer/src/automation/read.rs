//! The file as types, with a place for each complaint.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Automation, Occasion, Ready, Restart, Service, Task, order,
    output::{Kind, Output},
};
use crate::{
    place::{Findings, Place, Refused},
    read::{self, Fields, place_of},
    reserved::Reserved,
    tree::{self, Node, Value},
};

/// How many services and tasks a file may hold. Each is a process or more.
const MOST: usize = 100;
/// How long a name may be.
const NAME: usize = 64;
/// How long a service may take to be ready when the file doesn't say.
const READY: Duration = Duration::from_secs(60);
/// The longest that it may say.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
const UNKNOWN: &str = "is no key of this place";

pub(super) fn read(file: &str, text: &str, reserved: &Reserved) -> Result<Automation, Refused> {
    let mut findings = Findings::default();
    let node = tree::parse_yaml(file, text).map_err(|finding| {
        let mut findings = Findings::default();
        findings.refuse(&finding.place, finding.what);
        Refused { findings }
    })?;
    if node.value == Value::Null {
        return Ok(Automation::default());
    }
    let Some(mut fields) = Fields::open(&node, "the file", &mut findings) else {
        return Err(Refused { findings });
    };
    let automation = Automation {
        services: fields
            .read("services", |node, name, findings| read::map(node, name, findings, service))
            .unwrap_or_default(),
        tasks: fields
            .read("tasks", |node, name, findings| read::map(node, name, findings, task))
            .unwrap_or_default(),
    };
    fields.finish_strictly(UNKNOWN, &[]);
    // What follows speaks of what was understood; after an error it would only add noise.
    findings.verdict()?;
    let checked = Checked { node: &node, automation: &automation, reserved };
    checked.names(&mut findings);
    checked.variables(&mut findings);
    checked.ports(&mut findings);
    findings.verdict()?;
    checked.dependencies(&mut findings);
    findings.verdict()?;
    Ok(automation)
}

fn service(node: &Node, name: &str, findings: &mut Findings) -> Option<Service> {
    let mut fields = Fields::open(node, name, findings)?;
    let command = fields.read("ready", command);
    let timeout = fields.read("ready_timeout", duration);
    if let (None, Some(_)) = (&command, timeout) {
        let what = "`ready_timeout` has nothing to wait for: add `ready`, a command";
        fields.findings.refuse(place_of(node, "ready_timeout"), what);
    }
    let words = [
        ("never", Restart::Never),
        ("on_failure", Restart::OnFailure),
        ("always", Restart::Always),
    ];
    let service = Service {
        description: fields.text("description"),
        start: fields.read("start", self::command).unwrap_or_default(),
        ready: command.map(|command| Ready { command, timeout: timeout.unwrap_or(READY) }),
        stop: fields.read("stop", self::command),
        restart: fields.word("restart", &words).unwrap_or_default(),
        ports: fields
            .read("ports", |node, name, findings| read::list(node, name, findings, port))
            .unwrap_or_default(),
        depends_on: fields.texts("depends_on"),
        env: fields
            .read("env", |node, name, findings| read::map(node, name, findings, scalar))
            .unwrap_or_default(),
    };
    needs(node, "start", name, fields.findings);
    fields.finish_strictly(UNKNOWN, &[]);
    Some(service)
}

fn task(node: &Node, name: &str, findings: &mut Findings) -> Option<Task> {
    let mut fields = Fields::open(node, name, findings)?;
    let task = Task {
        description: fields.text("description"),
        command: fields.read("command", command).unwrap_or_default(),
        on: fields.read("on", occasions).unwrap_or_else(|| vec![Occasion::Manual]),
        depends_on: fields.texts("depends_on"),
        env: fields
            .read("env", |node, name, findings| read::map(node, name, findings, scalar))
            .unwrap_or_default(),
        outputs: fields
            .read("outputs", |node, name, findings| read::map(node, name, findings, output))
            .unwrap_or_default(),
    };
    needs(node, "command", name, fields.findings);
    fields.finish_strictly(UNKNOWN, &[]);
    Some(task)
}

/// A value that a task gives: its type, or a map with that.
fn output(node: &Node, name: &str, findings: &mut Findings) -> Option<Output> {
    let words = [Kind::String, Kind::Integer, Kind::Number, Kind::Boolean, Kind::Json]
        .map(|kind| (kind.name(), kind));
    if node.text().is_some() {
        let kind = read::word(node, name, findings, &words)?;
        return Some(Output { kind, from: None, pointer: None });
    }
    let mut fields = Fields::open(node, name, findings)?;
    let kind = fields.word("type", &words);
    let from = fields.read("from", output_file);
    let pointer = fields.read("pointer", pointer);
    if node.get("type").is_none_or(|node| node.value == Value::Null) {
        let what = format!("`{name}` has no `type`: string, integer, number, boolean or json");
        fields.findings.refuse(&node.place, what);
    }
    fields.finish_strictly(UNKNOWN, &[]);
    Some(Output { kind: kind?, from, pointer })
}

/// A file below the folder of a task's outputs.
fn output_file(node: &Node, name: &str, findings: &mut Findings) -> Option<String> {
    let text = read::text(node, name, findings)?;
    let is_inside = text.split('/').all(|part| !["", ".", ".."].contains(&part));
    if is_inside && !text.contains('\0') {
        return Some(text);
    }
    let what = format!("`{name}` must be a file below $WINDLASS_OUTPUTS, such as audit.json");
    findings.refuse(&node.place, what);
    None
}

fn pointer(node: &Node, name: &str, findings: &mut Findings) -> Option<String> {
    let text = read::text(node, name, findings)?;
    let is_escaped = |part: &str| part.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if text.is_empty() || (text.starts_with('/') && is_escaped(&text)) {
        return Some(text);
    }
    let what = format!("`{name}` must be a JSON pointer, such as /vulnerabilities/count");
    findings.refuse(&node.place, what);
    None
}

fn needs(node: &Node, key: &str, name: &str, findings: &mut Findings) {
    if node.get(key).is_none_or(|node| node.value == Value::Null) {
        findings.refuse(&node.place, format!("`{name}` has no `{key}`: add the command"));
    }
}

fn command(node: &Node, name: &str, findings: &mut Findings) -> Option<String> {
    let text = read::text(node, name, findings)?;
    if text.trim().is_empty() || text.contains('\0') {
        findings.refuse(&node.place, format!("`{name}` is empty or holds a NUL: name a command"));
        return None;
    }
    Some(text)
}

fn scalar(node: &Node, name: &str, findings: &mut Findings) -> Option<String> {
    let text = node.scalar();
    if text.is_none() {
        read::wrong_type(node, name, "a string, a number, true or false", findings);
    }
    text.map(std::borrow::Cow::into_owned)
}

fn port(node: &Node, name: &str, findings: &mut Findings) -> Option<u16> {
    let number = read::whole(node, name, findings)?;
    match u16::try_from(number) {
        Ok(port) if port > 0 => Some(port),
        Ok(_) | Err(_) => {
            findings.refuse(&node.place, format!("`{name}` must be a port from 1 to 65535"));
            None
        }
    }
}

fn occasions(node: &Node, name: &str, findings: &mut Findings) -> Option<Vec<Occasion>> {
    let words = [
        ("manual", Occasion::Manual),
        ("start", Occasion::Start),
        ("prebuild", Occasion::Prebuild),
        ("before_snapshot", Occasion::BeforeSnapshot),
    ];
    if node.list().is_some() {
        return read::list(node, name, findings, |node, name, findings| {
            read::word(node, name, findings, &words)
        });
    }
    read::word(node, name, findings, &words).map(|occasion| vec![occasion])
}

/// `90s`, `5m`, `1h`.
fn duration(node: &Node, name: &str, findings: &mut Findings) -> Option<Duration> {
    let text = node.text().unwrap_or_default();
    let seconds = [("s", 1), ("m", 60), ("h", 3600)].iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*seconds)
    });
    match seconds.map(Duration::from_secs) {
        Some(time) if !time.is_zero() && time <= LONGEST => Some(time),
        Some(_) | None => {
            findings.refuse(
                &node.place,
                format!("`{name}` must be a time from 1s to 24h, such as 90s, 5m or 1h"),
            );
            None
        }
    }
}

/// What was read, and what must hold between its parts.
struct Checked<'a> {
    node: &'a Node,
    automation: &'a Automation,
    reserved: &'a Reserved,
}

impl<'a> Checked<'a> {
    /// The members of both maps, with their place.
    fn all(&self) -> impl Iterator<Item = (&'a str, &'a Place, &'a Node)> {
        let node = self.node;
        ["services", "tasks"].into_iter().flat_map(move |key| {
            let members = node.get(key).map(Node::members).unwrap_or_default();
            members.iter().map(|member| (member.key.as_str(), &member.place, &member.node))
        })
    }

    fn names(&self, findings: &mut Findings) {
        for (n, (name, place, _)) in self.all().enumerate() {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
            if name.is_empty() || name.len() > NAME || !name.chars().all(is_plain) {
                let what =
                    format!("`{name}` is no name: use up to {NAME} letters, digits, `_` and `-`");
                findings.refuse(place, what);
            }
            if n == MOST {
                findings.refuse(place, format!("there are more than {MOST} services and tasks"));
            }
        }
        let tasks = self.node.get("tasks").map(Node::members).unwrap_or_default();
        for task in tasks {
            if self.automation.services.contains_key(&task.key) {
                let what = format!("`{}` is a service too: give one another name", task.key);
                findings.refuse(&task.place, what);
            }
        }
    }

    fn variables(&self, findings: &mut Findings) {
        for (_, _, node) in self.all() {
            for member in node.get("env").map(Node::members).unwrap_or_default() {
                let value = member.node.scalar();
                self.reserved.check_variable(
                    &member.key,
                    value.as_deref(),
                    &member.place,
                    findings,
                );
            }
        }
    }

    fn ports(&self, findings: &mut Findings) {
        let mut taken: BTreeMap<u16, &str> = BTreeMap::new();
        for (name, service) in &self.automation.services {
            let nodes = self.part(name).and_then(|node| node.get("ports")).and_then(Node::list);
            for (port, node) in service.ports.iter().zip(nodes.unwrap_or_default()) {
                if self.reserved.ports.contains(port) {
                    let what = format!("the port {port} belongs to the platform: choose another");
                    findings.refuse(&node.place, what);
                }
                if let Some(other) = taken.insert(*port, name) {
                    let what = if other == name {
                        format!("the port {port} stands twice: remove one")
                    } else {
                        format!("the port {port} is that of `{other}` too: choose another")
                    };
                    findings.refuse(&node.place, what);
                }
            }
        }
    }

    fn dependencies(&self, findings: &mut Findings) {
        let names: Vec<&str> = self.all().map(|(name, _, _)| name).collect();
        for (name, _, node) in self.all() {
            let nodes = node.get("depends_on").and_then(Node::list).unwrap_or_default();
            for (other, node) in self.automation.depends_on(name).iter().zip(nodes) {
                if !names.contains(&other.as_str()) {
                    let hint = read::nearest_hint(other, &names);
                    let what = format!("no service or task is called `{other}`{hint}");
                    findings.refuse(&node.place, what);
                } else if let Some(what) = self.never_there(name, other) {
                    findings.refuse(&node.place, what);
                }
            }
        }
        let depends_on = |name: &str| self.automation.depends_on(name);
        if let Some(circle) = order::circle(&names, &depends_on) {
            let place = circle.first().and_then(|name| self.part(name));
            let place = place.map_or(&self.node.place, |node| place_of(node, "depends_on"));
            let what = match circle.as_slice() {
                [name, _] => format!("`{name}` waits for itself: remove it from `depends_on`"),
                _ => format!("these wait for each other: {}: break the circle", circle.join(" → ")),
            };
            findings.refuse(place, what);
        }
    }

    /// Why the other one could not be there when this one needs it.
    fn never_there(&self, name: &str, other: &str) -> Option<String> {
        let on = |name: &str| -> &[Occasion] {
            let task = self.automation.tasks.get(name);
            task.map_or(&[Occasion::Start], |task| task.on.as_slice())
        };
        let (needed, there) = (on(name), on(other));
        if needed.contains(&Occasion::Prebuild) && !there.contains(&Occasion::Prebuild) {
            return Some(format!(
                "`{name}` runs in a prebuild, where `{other}` is not: a prebuild holds files and no \
                 running service"
            ));
        }
        let before = [Occasion::Prebuild, Occasion::BeforeSnapshot];
        if needed.contains(&Occasion::BeforeSnapshot) && !there.iter().any(|on| before.contains(on))
        {
            return Some(format!(
                "`{name}` runs before a snapshot is taken, where `{other}` is not: a snapshot holds files \
                 and no running service"
            ));
        }
        let is_start = needed.contains(&Occasion::Start);
        if is_start && there.iter().all(|on| *on == Occasion::BeforeSnapshot) {
            return Some(format!(
                "`{other}` runs only where a snapshot is taken: write `on: [start, before_snapshot]` there"
            ));
        }
        let by_hand = |on: &[Occasion]| on.iter().all(|on| *on == Occasion::Manual);
        (by_hand(there) && !by_hand(needed))
            .then(|| format!("`{other}` runs only when somebody asks: write `on: start` there"))
    }

    fn part(&self, name: &str) -> Option<&'a Node> {
        self.all().find(|(other, _, _)| *other == name).map(|(_, _, node)| node)
    }
}
