//! Steps: each a map with one key that says its kind.

use std::collections::{BTreeMap, BTreeSet};

use windlass_document::{
    Findings, Node, Value,
    read::{self, Fields, nearest_hint},
};

use super::{AgentDefaults, Known, Reader, UNKNOWN, values};
use crate::{
    Duration, StepId,
    automation::Name,
    job::Outcome,
    spec::{
        Action, AgentAction, ApproveAction, Approver, EndAction, EndOutcome, ErrorClass, Kind,
        Mode, OnTimeout, Output, PullRequestAction, ReadinessAction, ReportAction, Retry, Source,
        Step, WaitAction,
    },
};

/// The keys that say of what kind a step is.
const KINDS: [&str; 12] = [
    "run",
    "agent",
    "pull_request",
    "readiness",
    "report",
    "approve",
    "wait",
    "end",
    "parallel",
    "for_each",
    "until",
    "call",
];
/// How long an attempt may take where the file does not say.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// What is told from step to step while a list is read.
pub(super) struct Ids {
    /// Every id that the file writes out.
    written: BTreeSet<String>,
    /// Those that were given out.
    given: BTreeSet<String>,
}

impl Ids {
    /// The ids that stand anywhere below these nodes.
    pub(super) fn below<'a>(lists: impl Iterator<Item = &'a Node>) -> Self {
        let mut written = BTreeSet::new();
        let mut ahead: Vec<&Node> = lists.collect();
        while let Some(node) = ahead.pop() {
            ahead.extend(node.list().unwrap_or_default());
            for member in node.members() {
                ahead.push(&member.node);
                if let ("id", Some(id)) = (member.key.as_str(), member.node.text()) {
                    written.insert(id.to_owned());
                }
            }
        }
        Self { written, given: BTreeSet::new() }
    }

    /// A name for a step that has none: its kind and a number.
    fn next(&mut self, kind: &str) -> String {
        let kind = kind.replace('_', "-");
        (1u32..)
            .map(|n| format!("{kind}-{n}"))
            .find(|id| !self.written.contains(id) && self.given.insert(id.clone()))
            .unwrap_or(kind)
    }
}

impl Reader<'_> {
    /// A list of steps that are done one after the other. `known` has their names afterwards.
    pub(super) fn steps(
        &mut self,
        node: &Node,
        name: &str,
        known: &mut Known,
        findings: &mut Findings,
    ) -> Option<Vec<Step>> {
        let nodes = self.list_of_steps(node, name, findings)?;
        let later: Vec<String> =
            nodes.iter().filter_map(|node| Some(id_of(node)?.to_owned())).collect();
        let before = known.elsewhere.len();
        known.elsewhere.extend(later);
        let mut steps = Vec::with_capacity(nodes.len());
        for (n, node) in nodes.iter().enumerate() {
            if let Some(step) = self.step(node, &format!("{name}[{n}]"), known, findings) {
                known.steps.insert(step.id.as_str().to_owned(), outputs_of(&step));
                steps.push(step);
            }
        }
        known.elsewhere.truncate(before);
        Some(steps)
    }

    /// A list of steps that are done at once: none knows the others.
    fn beside(
        &mut self,
        node: &Node,
        name: &str,
        known: &mut Known,
        findings: &mut Findings,
    ) -> Option<Vec<Step>> {
        let nodes = self.list_of_steps(node, name, findings)?;
        let mut alone = known.clone();
        alone.elsewhere.extend(nodes.iter().filter_map(|node| Some(id_of(node)?.to_owned())));
        let mut steps = Vec::with_capacity(nodes.len());
        for (n, node) in nodes.iter().enumerate() {
            let mut inner = alone.clone();
            if let Some(step) = self.step(node, &format!("{name}[{n}]"), &mut inner, findings) {
                known.steps.extend(inner.steps);
                known.steps.insert(step.id.as_str().to_owned(), outputs_of(&step));
                steps.push(step);
            }
        }
        Some(steps)
    }

    fn list_of_steps<'n>(
        &self,
        node: &'n Node,
        name: &str,
        findings: &mut Findings,
    ) -> Option<&'n [Node]> {
        let Some(nodes) = node.list() else {
            read::wrong_type(node, name, "a list of steps", findings);
            return None;
        };
        if nodes.is_empty() {
            findings.refuse(&node.place, format!("`{name}` is empty: add a step, or remove it"));
            return None;
        }
        Some(nodes)
    }

    fn step(
        &mut self,
        node: &Node,
        name: &str,
        known: &mut Known,
        findings: &mut Findings,
    ) -> Option<Step> {
        let kind = kind(node, name, findings)?;
        let mut fields = Fields::open(node, name, findings)?;
        let id = fields.read("id", step_id);
        // A mistake in the name is told once; the rest is read under a name of its own.
        let id = match id {
            Some(id) if self.ids.given.insert(id.as_str().to_owned()) => id,
            Some(id) => {
                let what = format!("another step is called `{id}` already: names are of one step");
                fields.findings.refuse(read::place_of(node, "id"), what);
                id
            }
            None => StepId::parse(&self.ids.next(kind)).ok()?,
        };
        let condition =
            fields.read("if", |node, name, findings| self.expression(node, name, known, findings));
        let timeout = fields.read("timeout", values::duration);
        let retry = fields.read("retry", retry).unwrap_or_default();
        let continue_on_error = fields.truth("continue_on_error").unwrap_or_default();
        let outputs = match kind {
            "run" | "agent" => fields.read("outputs", |node, name, findings| {
                read::map(node, name, findings, |node, name, findings| {
                    self.output(node, name, findings)
                })
            }),
            _ => None,
        };
        let node_of_kind = fields.get(kind)?;
        let action = self.action(kind, node_of_kind, &mut fields, known);
        fields.finish_strictly(UNKNOWN, &[]);
        Some(Step {
            id,
            condition,
            action: action?,
            timeout: timeout.unwrap_or(TIMEOUT),
            retry,
            continue_on_error,
            outputs: outputs.into_iter().flatten().collect::<BTreeMap<String, Output>>(),
        })
    }

    fn action(
        &mut self,
        kind: &'static str,
        node: &Node,
        fields: &mut Fields<'_, '_>,
        known: &mut Known,
    ) -> Option<Action> {
        match kind {
            "run" => {
                let command = self.command(node, kind, known, fields.findings)?;
                Some(Action::Run { command })
            }
            "agent" => self.agent(node, fields, known).map(Action::Agent),
            "pull_request" => {
                self.pull_request(node, known, fields.findings).map(Action::PullRequest)
            }
            "readiness" => readiness(node, kind, fields.findings).map(Action::Readiness),
            "report" => self.report(node, known, fields.findings).map(Action::Report),
            "approve" => self.approve(node, known, fields.findings).map(Action::Approve),
            "wait" => {
                let duration = values::duration(node, kind, fields.findings)?;
                Some(Action::Wait(WaitAction::For { duration }))
            }
            "end" => {
                let words =
                    [("skipped", EndOutcome::Skipped), ("succeeded", EndOutcome::Succeeded)];
                let outcome = read::word(node, kind, fields.findings, &words);
                let reason = fields
                    .read("reason", |node, name, findings| self.text(node, name, known, findings));
                let reason =
                    reason.unwrap_or_else(|| "The automation says that it ends here.".into());
                Some(Action::End(EndAction { outcome: outcome?, reason }))
            }
            _ => self.container(kind, node, fields, known),
        }
    }

    fn container(
        &mut self,
        kind: &'static str,
        node: &Node,
        fields: &mut Fields<'_, '_>,
        known: &mut Known,
    ) -> Option<Action> {
        let limit = |fields: &mut Fields<'_, '_>| {
            fields.read("limit", |node, name, findings| values::count(node, name, 1, findings))
        };
        match kind {
            "parallel" => {
                let limit = limit(fields);
                let steps = self.beside(node, kind, known, fields.findings)?;
                Some(Action::Parallel { steps, limit })
            }
            "for_each" => {
                let items = self.expression(node, kind, known, fields.findings);
                let name = fields.text("as").unwrap_or_else(|| "item".to_owned());
                let limit = limit(fields).unwrap_or(1);
                let mut inner = known.clone();
                inner.roots.extend([name.clone(), "round".to_owned()]);
                let steps = self.inner(fields, &mut inner, known);
                Some(Action::ForEach { items: items?, name, steps: steps?, limit })
            }
            "until" => {
                let rounds = fields
                    .read("rounds", |node, name, findings| values::count(node, name, 1, findings));
                let pause = fields.read("pause", values::duration);
                let mut inner = known.clone();
                inner.roots.push("round".to_owned());
                let steps = self.inner(fields, &mut inner, known);
                let condition = self.expression(node, kind, &inner, fields.findings);
                if rounds.is_none() && fields.get("rounds").is_none() {
                    let what = "`until` needs `rounds`: how often it is tried at most";
                    fields.findings.refuse(&node.place, what);
                }
                let pause = pause.unwrap_or_default();
                Some(Action::Until { condition: condition?, rounds: rounds?, pause, steps: steps? })
            }
            _ => {
                let name = read::text(node, kind, fields.findings)?;
                let name = Name::parse(&name).map_err(|why| {
                    let what = format!("`call` names an automation: {why}");
                    fields.findings.refuse(&node.place, what);
                });
                let inputs = fields.read("with", |node, name, findings| {
                    read::map(node, name, findings, |node, name, findings| {
                        self.given(node, name, known, findings)
                    })
                });
                Some(Action::Block {
                    call: Some(name.ok()?.as_str().to_owned()),
                    steps: Vec::new(),
                    inputs: inputs.into_iter().flatten().collect(),
                    outputs: BTreeMap::new(),
                })
            }
        }
    }

    /// The `steps` of a container with rounds. What is in them is known outside by its last round.
    fn inner(
        &mut self,
        fields: &mut Fields<'_, '_>,
        inner: &mut Known,
        known: &mut Known,
    ) -> Option<Vec<Step>> {
        let Some(node) = fields.get("steps") else {
            let what = "its `steps` are missing: add what is done in each round";
            fields.refuse(what);
            return None;
        };
        let steps = self.steps(node, "steps", inner, fields.findings);
        known.steps.extend(inner.steps.clone());
        steps
    }

    fn agent(
        &mut self,
        node: &Node,
        fields: &mut Fields<'_, '_>,
        known: &Known,
    ) -> Option<AgentAction> {
        let prompt = self.text(node, "agent", known, fields.findings);
        let own = self.agent_options(fields, known);
        let AgentDefaults { harness, model, mode, verify, attempts, replay } = own;
        let defaults = &self.agent;
        Some(AgentAction {
            prompt: prompt?,
            harness: harness.or(defaults.harness.clone()).unwrap_or_else(|| "builtin".to_owned()),
            model: model.or(defaults.model.clone()),
            mode: mode.or(defaults.mode).unwrap_or_default(),
            verify: verify.or(defaults.verify.clone()).unwrap_or_default(),
            attempts: attempts.or(defaults.attempts).unwrap_or(3),
            replay: replay.or(defaults.replay.clone()),
        })
    }

    /// How an agent works: of a step, or of all of them.
    pub(super) fn agent_options(
        &self,
        fields: &mut Fields<'_, '_>,
        known: &Known,
    ) -> AgentDefaults {
        let modes = [("ask", Mode::Ask), ("auto", Mode::Auto), ("full", Mode::Full)];
        AgentDefaults {
            harness: fields.text("harness"),
            model: fields.text("model"),
            mode: fields.word("mode", &modes),
            verify: fields.read("verify", |node, name, findings| {
                values::one_or_more(node, name, findings, |node, name, findings| {
                    self.command(node, name, known, findings)
                })
            }),
            attempts: fields
                .read("attempts", |node, name, findings| values::count(node, name, 1, findings)),
            replay: fields.text("replay"),
        }
    }

    fn pull_request(
        &self,
        node: &Node,
        known: &Known,
        findings: &mut Findings,
    ) -> Option<PullRequestAction> {
        let mut fields = Fields::open(node, "pull_request", findings)?;
        let text = |fields: &mut Fields<'_, '_>, key| {
            fields.read(key, |node, name, findings| self.text(node, name, known, findings))
        };
        let branch = text(&mut fields, "branch");
        if let Some(branch) = &branch
            && !branch.as_str().starts_with("windlass/")
        {
            let what = "a job's branches begin with `windlass/`: put that before it";
            fields.findings.refuse(read::place_of(node, "branch"), what);
        }
        let action = PullRequestAction {
            branch,
            title: text(&mut fields, "title"),
            body: text(&mut fields, "body"),
            draft: fields.truth("draft").unwrap_or_default(),
        };
        fields.finish_strictly(UNKNOWN, &[]);
        Some(action)
    }

    fn report(&self, node: &Node, known: &Known, findings: &mut Findings) -> Option<ReportAction> {
        let mut fields = Fields::open(node, "report", findings)?;
        let title =
            fields.read("title", |node, name, findings| self.text(node, name, known, findings));
        let body =
            fields.read("body", |node, name, findings| self.text(node, name, known, findings));
        let values = fields.read("values", |node, name, findings| {
            read::map(node, name, findings, |node, name, findings| {
                self.given(node, name, known, findings)
            })
        });
        needs(node, "title", "report", "one line that says what it is", fields.findings);
        fields.finish_strictly(UNKNOWN, &[]);
        Some(ReportAction { title: title?, body, values: values.into_iter().flatten().collect() })
    }

    fn approve(
        &self,
        node: &Node,
        known: &Known,
        findings: &mut Findings,
    ) -> Option<ApproveAction> {
        let (by_role, on_timeout) = (Approver::default(), OnTimeout::default());
        if node.text().is_some() {
            let prompt = self.text(node, "approve", known, findings)?;
            return Some(ApproveAction { prompt, by_role, timeout: None, on_timeout });
        }
        let mut fields = Fields::open(node, "approve", findings)?;
        let roles = [
            ("operator", Approver::Operator),
            ("reviewer", Approver::Reviewer),
            ("admin", Approver::Admin),
        ];
        let ends = [
            ("fail", OnTimeout::Fail),
            ("approve", OnTimeout::Approve),
            ("decline", OnTimeout::Decline),
        ];
        let prompt =
            fields.read("prompt", |node, name, findings| self.text(node, name, known, findings));
        let action = ApproveAction {
            prompt: prompt.clone().unwrap_or_else(|| "?".into()),
            by_role: fields.word("by", &roles).unwrap_or_default(),
            timeout: fields.read("timeout", values::duration),
            on_timeout: fields.word("on_timeout", &ends).unwrap_or_default(),
        };
        needs(node, "prompt", "approve", "what is to be decided", fields.findings);
        fields.finish_strictly(UNKNOWN, &[]);
        prompt.map(|_| action)
    }

    /// A value that a step gives: its type, or a map with that.
    fn output(&self, node: &Node, name: &str, findings: &mut Findings) -> Option<Output> {
        let kinds = [Kind::String, Kind::Integer, Kind::Number, Kind::Boolean, Kind::Json]
            .map(|kind| (kind.name(), kind));
        let mut fields = Fields::open(node, name, findings)?;
        let from = fields.text("from");
        let pointer = fields.text("pointer");
        let pattern = fields.read("regex", |node, name, findings| {
            let text = read::text(node, name, findings)?;
            if let Err(error) = regex::Regex::new(&text) {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim();
                findings.refuse(&node.place, format!("`{name}` is no regular expression: {why}"));
                return None;
            }
            Some(text)
        });
        let kind = fields
            .word("type", &kinds)
            .or_else(|| fields.get("type").is_none().then_some(Kind::String));
        let value = Known::only(&["value"], Vec::new());
        let accept = fields
            .read("accept", |node, name, findings| self.expression(node, name, &value, findings));
        let source = match from.as_deref() {
            Some("stdout") | None => Source::Stdout { pointer, regex: pattern },
            Some("exit_code") => Source::ExitCode,
            Some(path) => Source::File { path: path.to_owned(), pointer, regex: pattern },
        };
        fields.finish_strictly(UNKNOWN, &[]);
        Some(Output { kind: kind?, source, accept })
    }
}

/// The one key that says of what kind a step is.
fn kind(node: &Node, name: &str, findings: &mut Findings) -> Option<&'static str> {
    if !node.is_object() {
        let what =
            format!("`{name}` must be a step, such as `run: make test`; it is {}", node.kind());
        findings.refuse(&node.place, what);
        return None;
    }
    let has = |kind: &&&str| node.get(kind).is_some_and(|node| node.value != Value::Null);
    let found: Vec<&&'static str> = KINDS.iter().filter(has).collect();
    match found[..] {
        [kind] => Some(kind),
        [] => {
            let keys = node.members().iter().map(|member| member.key.as_str());
            let hint = keys.map(|key| nearest_hint(key, &KINDS)).find(|hint| !hint.is_empty());
            let hint = hint.unwrap_or_else(|| format!(": it needs one of {}", KINDS.join(", ")));
            findings.refuse(&node.place, format!("`{name}` does not say what it does{hint}"));
            None
        }
        [first, second, ..] => {
            let what = format!("`{name}` can't be both `{first}` and `{second}`: make two steps");
            findings.refuse(read::place_of(node, second), what);
            None
        }
    }
}

fn id_of(node: &Node) -> Option<&str> {
    node.get("id").and_then(Node::text)
}

/// The names of what a step gives, if its file says.
fn outputs_of(step: &Step) -> Option<Vec<String>> {
    match &step.action {
        Action::Report(report) => Some(report.values.keys().cloned().collect()),
        // What a called automation gives is seen when the call is worked out.
        Action::Block { .. } => None,
        _ => Some(step.outputs.keys().cloned().collect()),
    }
}

fn step_id(node: &Node, name: &str, findings: &mut Findings) -> Option<StepId> {
    let text = read::text(node, name, findings)?;
    match StepId::parse(&text) {
        Ok(id) if !text.contains('.') => Some(id),
        Ok(_) | Err(_) => {
            let what =
                "a step's `id` is a letter, then letters, digits, `-` or `_`, at most 64 in all";
            findings.refuse(&node.place, what);
            None
        }
    }
}

fn retry(node: &Node, name: &str, findings: &mut Findings) -> Option<Retry> {
    if matches!(node.value, Value::Number(_)) {
        let attempts = values::count(node, name, 1, findings)?;
        return Some(Retry { attempts, ..Retry::default() });
    }
    let classes = [
        ("exit", ErrorClass::Exit),
        ("timeout", ErrorClass::Timeout),
        ("environment", ErrorClass::Environment),
        ("agent", ErrorClass::Agent),
        ("output", ErrorClass::Output),
        ("template", ErrorClass::Template),
    ];
    let mut fields = Fields::open(node, name, findings)?;
    let defaults = Retry::default();
    let attempts =
        fields.read("attempts", |node, name, findings| values::count(node, name, 1, findings));
    let retry = Retry {
        attempts: attempts.unwrap_or(2),
        backoff: fields.read("backoff", values::duration).unwrap_or(defaults.backoff),
        backoff_cap: fields.read("backoff_cap", values::duration).unwrap_or(defaults.backoff_cap),
        on: fields
            .read("on", |node, name, findings| {
                values::one_or_more(node, name, findings, |node, name, findings| {
                    read::word(node, name, findings, &classes)
                })
            })
            .unwrap_or_default(),
    };
    fields.finish_strictly(UNKNOWN, &[]);
    Some(retry)
}

fn readiness(node: &Node, name: &str, findings: &mut Findings) -> Option<ReadinessAction> {
    let mut fields = Fields::open(node, name, findings)?;
    let action = ReadinessAction { propose: fields.truth("propose").unwrap_or_default() };
    fields.finish_strictly(UNKNOWN, &[]);
    Some(action)
}

/// Says that a key is missing.
pub(super) fn needs(node: &Node, key: &str, name: &str, what: &str, findings: &mut Findings) {
    if node.get(key).is_none_or(|node| node.value == Value::Null) {
        findings.refuse(&node.place, format!("`{name}` has no `{key}`: add {what}"));
    }
}

/// The words for how a job ended.
pub(super) const OUTCOMES: [(&str, Outcome); 5] = [
    ("succeeded", Outcome::Succeeded),
    ("gave_up", Outcome::GaveUp),
    ("failed", Outcome::Failed),
    ("cancelled", Outcome::Cancelled),
    ("skipped", Outcome::Skipped),
];
