//! The file as types, with a place for each complaint. Everything that can be known without a server is
//! said here, and all at once.

mod known;
mod rollout;
mod steps;
mod triggers;
mod values;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use windlass_document::{
    Findings, Node, Refused, Value,
    read::{self, Fields},
    tree,
};

use self::steps::needs;
pub(super) use known::Known;

use super::{Automation, Environment, Input, Name, Search, Select, Targets, input};
use crate::{
    Duration, Labels,
    expression::Expression,
    fleet,
    spec::{self, Kind, Mode},
    template::Text,
};

/// What is said of an unknown key.
const UNKNOWN: &str = "is no key of this place";
/// How long the check of `select` may take where the file does not say.
const SELECT: Duration = Duration::from_secs(60);

/// What is the same for the whole file.
struct Reader<'a> {
    source: &'a str,
    agent: AgentDefaults,
    ids: steps::Ids,
}

/// How agents work where their step does not say.
#[derive(Clone, Debug, Default)]
struct AgentDefaults {
    harness: Option<String>,
    model: Option<String>,
    mode: Option<Mode>,
    verify: Option<Vec<Text>>,
    attempts: Option<u32>,
    replay: Option<String>,
}

pub(super) fn read(file: &str, text: &str) -> Result<Automation, Refused> {
    let mut findings = Findings::default();
    let node = tree::parse_yaml(file, text).map_err(|finding| {
        let mut findings = Findings::default();
        findings.refuse(&finding.place, finding.what);
        Refused { findings }
    })?;
    let automation = whole(text, &node, &mut findings);
    findings.verdict()?;
    match automation {
        Some(automation) => Ok(automation),
        None => {
            findings.refuse(&node.place, "it is no automation: it needs a `name` and `steps`");
            Err(Refused { findings })
        }
    }
}

fn whole(source: &str, node: &Node, findings: &mut Findings) -> Option<Automation> {
    let lists = ["steps", "on_failure", "finally"];
    let ids = steps::Ids::below(lists.iter().filter_map(|key| node.get(key)));
    let mut reader = Reader { source, agent: AgentDefaults::default(), ids };
    let mut fields = Fields::open(node, "the file", findings)?;
    needs(node, "name", "the file", "the automation's name", fields.findings);
    needs(node, "steps", "the file", "what is to be done", fields.findings);
    let name = fields.read("name", name);
    let description = fields.text("description");
    let enabled = fields.truth("enabled").unwrap_or(true);
    let inputs = fields
        .read("inputs", |node, name, findings| read::map(node, name, findings, input))
        .unwrap_or_default();
    names_of(node.get("inputs"), "an input", fields.findings);
    let known_inputs: Vec<String> = inputs.keys().cloned().collect();
    let triggers = fields.read("on", |node, name, findings| reader.triggers(node, name, findings));
    let targets = fields.read("targets", targets).unwrap_or_default();
    let rollout = fields.read("rollout", rollout::rollout).unwrap_or_default();
    let (limits, fleet_limits) = fields.read("limits", rollout::limits).unwrap_or_default();
    let concurrency = fields.read("concurrency", |node, name, findings| {
        reader.concurrency(node, name, &known_inputs, findings)
    });
    let environment = fields.read("environment", environment).unwrap_or_default();
    let policy = fields.text("policy");
    let mut known = Known::of_steps(known_inputs);
    reader.agent = fields
        .read("agent", |node, name, findings| agent(&reader, node, name, &known, findings))
        .unwrap_or_default();
    let steps =
        fields.read("steps", |node, name, findings| reader.steps(node, name, &mut known, findings));
    let mut after = |fields: &mut Fields<'_, '_>, key| {
        let mut known = known.clone();
        known.roots.push("verdict".to_owned());
        fields
            .read(key, |node, name, findings| reader.steps(node, name, &mut known, findings))
            .unwrap_or_default()
    };
    let on_failure = after(&mut fields, "on_failure");
    let finally = after(&mut fields, "finally");
    let outputs: Option<IndexMap<String, Expression>> =
        fields.read("outputs", |node, name, findings| {
            read::map(node, name, findings, |node, name, findings| {
                reader.expression(node, name, &known, findings)
            })
        });
    fields.finish_strictly(UNKNOWN, &[]);
    let plan = fleet::Plan { rollout, limits: fleet_limits };
    if let Err(invalid) = plan.check() {
        findings.refuse(place_of_path(node, &invalid.field), invalid.why);
    }
    let automation = Automation {
        name: name?,
        description,
        enabled,
        triggers: triggers.unwrap_or_default(),
        inputs,
        targets,
        rollout: plan,
        limits,
        concurrency,
        environment,
        policy,
        steps: steps?,
        on_failure,
        finally,
        outputs: outputs.into_iter().flatten().collect::<BTreeMap<_, _>>(),
    };
    checked(&automation, node, findings);
    Some(automation)
}

/// What only all of it together shows.
fn checked(automation: &Automation, node: &Node, findings: &mut Findings) {
    if let Err(invalid) = automation.check_steps() {
        findings.refuse(place_of_path(node, &invalid.place), invalid.why);
    }
    for (n, trigger) in automation.triggers.iter().enumerate() {
        let at = |key: &str| place_of_path(node, &format!("on[{n}].{key}")).clone();
        for name in trigger.inputs.keys() {
            if !automation.inputs.contains_key(name) {
                let names: Vec<&str> = automation.inputs.keys().map(String::as_str).collect();
                let hint = read::nearest_hint(name, &names);
                let what = format!("the automation has no input `{name}`{hint}");
                findings.refuse(&at(&format!("inputs.{name}")), what);
            }
        }
        let is_by_hand = matches!(trigger.on, super::On::Manual);
        for (name, input) in &automation.inputs {
            if !is_by_hand && input.default.is_none() && !trigger.inputs.contains_key(name) {
                let what = format!(
                    "the input `{name}` has no default, and this trigger does not say what it is: \
                     add `inputs: {{ {name}: ... }}` here, or a default there"
                );
                findings.refuse(&at(trigger.on.name()), what);
            }
        }
    }
}

/// The place of what a path such as `steps[1].retry.attempts` names; of what is around it, where that has
/// no place of its own.
fn place_of_path<'n>(node: &'n Node, path: &str) -> &'n windlass_document::Place {
    let mut at = node;
    for part in path.split('.') {
        let (key, indices) = part.split_once('[').map_or((part, ""), |(key, rest)| (key, rest));
        // The steps of `parallel` have no key of their own in a file.
        match at.get(key).or_else(|| at.get("parallel").filter(|_| key == "steps")) {
            Some(inner) => at = inner,
            None => continue,
        }
        for index in indices.split('[') {
            let number = index.trim_end_matches(']').parse::<usize>().ok();
            if let Some(inner) = number.and_then(|number| at.list()?.get(number)) {
                at = inner;
            }
        }
    }
    &at.place
}

fn name(node: &Node, name: &str, findings: &mut Findings) -> Option<Name> {
    let text = read::text(node, name, findings)?;
    match Name::parse(&text) {
        Ok(name) => Some(name),
        Err(why) => {
            findings.refuse(&node.place, format!("`{name}` is {why}"));
            None
        }
    }
}

/// Refuses keys that expressions could not name.
fn names_of(node: Option<&Node>, what: &str, findings: &mut Findings) {
    for member in node.map(Node::members).unwrap_or_default() {
        let first = member.key.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let rest = member.key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !first || !rest || member.key.len() > 64 {
            let said = format!(
                "the name of {what} is a letter or `_`, then letters, digits or `_`, at most 64 in all"
            );
            findings.refuse(&member.place, said);
        }
    }
}

/// An input: its type, or a map.
fn input(node: &Node, name: &str, findings: &mut Findings) -> Option<Input> {
    let kinds = [Kind::String, Kind::Integer, Kind::Number, Kind::Boolean, Kind::Json]
        .map(|kind| (kind.name(), kind));
    let plain = |kind| Input {
        kind,
        default: None,
        choices: Vec::new(),
        pattern: None,
        min: None,
        max: None,
        description: None,
    };
    if node.text().is_some() {
        return read::word(node, name, findings, &kinds).map(plain);
    }
    let mut fields = Fields::open(node, name, findings)?;
    let kind = match fields.get("type") {
        Some(_) => fields.word("type", &kinds)?,
        None => Kind::String,
    };
    let number = |node: &Node, name: &str, findings: &mut Findings| match &node.value {
        Value::Number(number) => number.as_f64(),
        _ => {
            read::wrong_type(node, name, "a number", findings);
            None
        }
    };
    let mut input = plain(kind);
    input.choices = fields
        .read("choices", |node, name, findings| {
            read::list(node, name, findings, |node, _, _| Some(node.to_json()))
        })
        .unwrap_or_default();
    input.pattern = fields.read("pattern", |node, name, findings| {
        let text = read::text(node, name, findings)?;
        if let Err(why) = input::regex(&text) {
            findings.refuse(&node.place, format!("`{name}` {why}"));
            return None;
        }
        Some(text)
    });
    input.min = fields.read("min", number);
    input.max = fields.read("max", number);
    input.description = fields.text("description");
    for choice in &input.choices {
        if !kind.is(choice) {
            let what = format!("`{choice}` is not of the type {}", kind.name());
            fields.findings.refuse(read::place_of(node, "choices"), what);
        }
    }
    if let Some(default) = fields.get("default") {
        match input.take(&default.to_json()) {
            Ok(value) => input.default = Some(value),
            Err(why) => fields.findings.refuse(&default.place, format!("the default {why}")),
        }
    }
    fields.finish_strictly(UNKNOWN, &[]);
    Some(input)
}

fn targets(node: &Node, name: &str, findings: &mut Findings) -> Option<Targets> {
    let mut fields = Fields::open(node, name, findings)?;
    let from = fields.word("from", &[("trigger", true)]);
    let targets = Targets {
        from_trigger: from.unwrap_or_default(),
        repositories: fields.text_or_texts("repositories"),
        labels: fields.read("labels", labels),
        search: fields.read("search", search),
        file: fields.text("file"),
        command: fields.text("command"),
        except: fields
            .read("except", |node, name, findings| {
                values::one_or_more(node, name, findings, values::glob)
            })
            .unwrap_or_default(),
        base: fields.text("base"),
        select: fields.read("select", select),
        most: fields.read("most", |node, name, findings| values::count(node, name, 1, findings)),
    };
    fields.finish_strictly(UNKNOWN, &[]);
    Some(targets)
}

fn search(node: &Node, name: &str, findings: &mut Findings) -> Option<Search> {
    let mut fields = Fields::open(node, name, findings)?;
    needs(node, "query", name, "what is searched for", fields.findings);
    let forge = fields.text("forge").unwrap_or_else(|| "github".to_owned());
    let query = fields.text("query");
    fields.finish_strictly(UNKNOWN, &[]);
    Some(Search { forge, query: query? })
}

/// A command, or a map with its time limit.
fn select(node: &Node, name: &str, findings: &mut Findings) -> Option<Select> {
    if let Some(run) = node.text() {
        return Some(Select { run: run.to_owned(), timeout: SELECT });
    }
    let mut fields = Fields::open(node, name, findings)?;
    needs(node, "run", name, "a command that exits with 0 for what is selected", fields.findings);
    let run = fields.text("run");
    let timeout = fields.read("timeout", values::duration).unwrap_or(SELECT);
    fields.finish_strictly(UNKNOWN, &[]);
    Some(Select { run: run?, timeout })
}

fn labels(node: &Node, name: &str, findings: &mut Findings) -> Option<Labels> {
    let words = values::one_or_more(node, name, findings, read::text)?;
    match Labels::new(words) {
        Ok(labels) => Some(labels),
        Err(invalid) => {
            findings.refuse(&node.place, format!("`{name}`: {invalid}"));
            None
        }
    }
}

fn environment(node: &Node, name: &str, findings: &mut Findings) -> Option<Environment> {
    let mut fields = Fields::open(node, name, findings)?;
    let environment = Environment {
        class: fields.text("class"),
        runs_on: fields.read("runs_on", labels).unwrap_or_default(),
        network: fields.text_or_texts("network"),
    };
    fields.finish_strictly(UNKNOWN, &[]);
    Some(environment)
}

fn agent(
    reader: &Reader<'_>,
    node: &Node,
    name: &str,
    known: &Known,
    findings: &mut Findings,
) -> Option<AgentDefaults> {
    let mut fields = Fields::open(node, name, findings)?;
    // What is the same for all agents is worked out at each of them, but can't speak of steps.
    let roots = ["inputs", "event", "target", "run", "automation"];
    let known = Known::only(&roots, known.inputs.clone());
    let options = reader.agent_options(&mut fields, &known);
    fields.finish_strictly(UNKNOWN, &[]);
    Some(options)
}

impl Automation {
    /// What the steps must keep to, as [`spec::Spec::check`] says it, before their calls are worked out.
    fn check_steps(&self) -> Result<(), spec::InvalidSpec> {
        spec::check_lists(&self.steps, &self.on_failure, &self.finally, spec::Files::AsWritten)
    }
}
