//! The entries of `on`: each a word, or a map with one key that says what it waits for.

use windlass_document::{
    Findings, Node, Value,
    read::{self, Fields, nearest_hint, place_of},
};

use super::{
    Known, Reader, UNKNOWN,
    steps::{OUTCOMES, needs},
    values,
};
use crate::{
    Duration,
    automation::{CommentOn, Concurrency, On, Rate, Severity, Trigger, WhenBusy, glob::Glob},
    event::Trust,
    expression::Expression,
    schedule::{Blackout, Cron, Missed, ScheduleSettings, Zone},
};

/// What a trigger can wait for.
const KINDS: [&str; 15] = [
    "manual",
    "schedule",
    "push",
    "tag",
    "pull_request",
    "review",
    "comment",
    "issue",
    "check",
    "release",
    "webhook",
    "automation",
    "advisory",
    "drift",
    "watch",
];
/// What every trigger can have. It stands beside the kind, or in its map.
const COMMON: [&str; 8] =
    ["filter", "trust", "dedup", "dedup_for", "cooldown", "rate", "inputs", "run_as"];
/// For how long an event is remembered so that it starts nothing twice.
const DEDUP: Duration = Duration::from_secs(24 * 3600);
/// How long a `watch` command may take.
const WATCH: Duration = Duration::from_secs(60);

impl Reader<'_> {
    pub(super) fn triggers(
        &self,
        node: &Node,
        name: &str,
        findings: &mut Findings,
    ) -> Option<Vec<Trigger>> {
        values::one_or_more(node, name, findings, |node, name, findings| {
            let whole = in_full(node);
            let kind = kind(&whole, name, findings)?;
            self.trigger(&whole, kind, name, findings)
        })
    }

    fn trigger(
        &self,
        node: &Node,
        kind: &'static str,
        name: &str,
        findings: &mut Findings,
    ) -> Option<Trigger> {
        let known = Known::only(&["event"], Vec::new());
        let mut fields = Fields::open(node, name, findings)?;
        let on = match kind {
            "schedule" => schedule(&mut fields, "schedule").map(On::Schedule),
            _ => fields.read(kind, |node, name, findings| self.on(kind, node, name, findings)),
        };
        let trusts =
            [Trust::Own, Trust::Member, Trust::Known, Trust::Public].map(|t| (t.name(), t));
        let filter = fields
            .read("filter", |node, name, findings| self.expression(node, name, &known, findings));
        let trust = fields.word("trust", &trusts);
        let dedup =
            fields.read("dedup", |node, name, findings| self.text(node, name, &known, findings));
        let inputs = fields.read("inputs", |node, name, findings| {
            read::map(node, name, findings, |node, name, findings| {
                self.given(node, name, &known, findings)
            })
        });
        let dedup_for = fields.read("dedup_for", values::duration).unwrap_or(DEDUP);
        let cooldown = fields.read("cooldown", values::duration).unwrap_or_default();
        let (rate, run_as) = (fields.read("rate", rate), fields.text("run_as"));
        fields.finish_strictly(UNKNOWN, &[]);
        let (on, inputs) = (on?, inputs.into_iter().flatten().collect());
        let trust = trust.unwrap_or_else(|| on.least_trust());
        Some(Trigger { on, filter, trust, dedup, dedup_for, cooldown, rate, inputs, run_as })
    }

    fn on(&self, kind: &str, node: &Node, name: &str, findings: &mut Findings) -> Option<On> {
        let mut own = Fields::open(node, name, findings)?;
        let on = match kind {
            "manual" => Some(On::Manual),
            "push" => Some(On::Push {
                branches: globs(&mut own, "branches"),
                paths: globs(&mut own, "paths"),
            }),
            "tag" => Some(On::Tag { names: globs(&mut own, "names") }),
            "pull_request" => Some(On::PullRequest {
                actions: own.text_or_texts("actions"),
                branches: globs(&mut own, "branches"),
                labels: own.text_or_texts("labels"),
                drafts: own.truth("drafts").unwrap_or_default(),
            }),
            "review" => {
                let verdicts = ["approved", "changes_requested", "commented"];
                Some(On::Review { verdicts: words(&mut own, "verdicts", &verdicts) })
            }
            "comment" => Some(comment(&mut own)),
            "issue" => Some(On::Issue {
                actions: own.text_or_texts("actions"),
                labels: own.text_or_texts("labels"),
            }),
            "check" => {
                let outcomes = ["success", "failure", "neutral", "stopped"];
                let outcomes = words(&mut own, "outcomes", &outcomes);
                Some(On::Check { outcomes, names: globs(&mut own, "names") })
            }
            "release" => Some(On::Release { actions: own.text_or_texts("actions") }),
            "webhook" => {
                needs(node, "source", name, "the name of a hook", own.findings);
                own.text("source").map(|source| On::Webhook { source })
            }
            "automation" => automation(node, name, &mut own),
            "advisory" => Some(On::Advisory {
                ecosystems: own.text_or_texts("ecosystems"),
                severity: own.read("severity", severity).unwrap_or_default(),
                packages: globs(&mut own, "packages"),
            }),
            "drift" => self.drift(node, name, &mut own),
            _ => watch(node, name, &mut own),
        };
        own.finish_strictly(UNKNOWN, &[]);
        on
    }

    fn drift(&self, node: &Node, name: &str, own: &mut Fields<'_, '_>) -> Option<On> {
        let file = Known::only(&["file"], Vec::new());
        let path = own.text("path");
        let expect: Option<Expression> =
            own.read("expect", |node, name, findings| self.expression(node, name, &file, findings));
        let schedule = match own.get("schedule") {
            Some(_) => schedule(own, "schedule"),
            None => None,
        };
        needs(node, "path", name, "the file that is looked at", own.findings);
        let what = "what should hold, over `file.exists`, `file.text` and `file.sha256`";
        needs(node, "expect", name, what, own.findings);
        Some(On::Drift { path: path?, expect: expect?, schedule })
    }

    pub(super) fn concurrency(
        &self,
        node: &Node,
        name: &str,
        inputs: &[String],
        findings: &mut Findings,
    ) -> Option<Concurrency> {
        let roots = ["inputs", "event", "target", "automation"];
        let known = Known::only(&roots, inputs.to_vec());
        let mut fields = Fields::open(node, name, findings)?;
        let key =
            fields.read("key", |node, name, findings| self.text(node, name, &known, findings));
        let words =
            [("queue", WhenBusy::Queue), ("skip", WhenBusy::Skip), ("cancel", WhenBusy::Cancel)];
        let when_busy = fields.word("when_busy", &words).unwrap_or_default();
        let what = "what runs must not be at together, such as ${{ target.repository }}";
        needs(node, "key", name, what, fields.findings);
        fields.finish_strictly(UNKNOWN, &[]);
        Some(Concurrency { key: key?, when_busy })
    }
}

/// The entry with everything at its place: short forms written out, and what every trigger can have
/// beside the kind.
fn in_full(node: &Node) -> Node {
    let map = || Node::new(&node.place, Value::Object(Vec::new()));
    if let Some(word) = node.text() {
        let mut whole = map();
        whole.set(word, map());
        return whole;
    }
    let mut whole = node.clone();
    for kind in KINDS {
        let Some(own) = whole.get(kind).cloned() else { continue };
        let key = match kind {
            "webhook" => "source",
            "automation" => "name",
            "comment" => "command",
            _ => "",
        };
        match &own.value {
            Value::Null => whole.set(kind, map()),
            Value::Text(_) if !key.is_empty() => {
                let mut named = Node::new(&own.place, Value::Object(Vec::new()));
                named.set(key, own.clone());
                whole.set(kind, named);
            }
            Value::Object(_) => {
                let mut own = own;
                for common in COMMON {
                    // What stands twice stays where it is, and is told as unknown there.
                    if whole.get(common).is_none()
                        && let Some(value) = own.remove(common)
                    {
                        whole.set(common, value);
                    }
                }
                whole.set(kind, own);
            }
            _ => {}
        }
    }
    whole
}

/// The one key that says what a trigger waits for.
fn kind(node: &Node, name: &str, findings: &mut Findings) -> Option<&'static str> {
    if !node.is_object() {
        read::wrong_type(node, name, "a trigger, such as `schedule: \"0 6 * * *\"`", findings);
        return None;
    }
    let found: Vec<&str> = KINDS.into_iter().filter(|kind| node.get(kind).is_some()).collect();
    match found[..] {
        [kind] => Some(kind),
        [] => {
            let keys = node.members().iter().map(|member| member.key.as_str());
            let hint = keys.map(|key| nearest_hint(key, &KINDS)).find(|hint| !hint.is_empty());
            let hint = hint.unwrap_or_else(|| format!(": it needs one of {}", KINDS.join(", ")));
            findings.refuse(&node.place, format!("`{name}` does not say what it waits for{hint}"));
            None
        }
        [first, second, ..] => {
            let what =
                format!("`{name}` can't wait for `{first}` and `{second}`: make two entries");
            findings.refuse(place_of(node, second), what);
            None
        }
    }
}

fn comment(own: &mut Fields<'_, '_>) -> On {
    let places = [
        ("any", CommentOn::Any),
        ("issue", CommentOn::Issue),
        ("pull_request", CommentOn::PullRequest),
    ];
    let command = own.text("command").map(|word| word.trim_start_matches('/').to_owned());
    On::Comment { command, under: own.word("under", &places).unwrap_or_default() }
}

fn automation(node: &Node, name: &str, own: &mut Fields<'_, '_>) -> Option<On> {
    needs(node, "name", name, "the automation whose runs it waits for", own.findings);
    let waits_for = own.read("name", super::name);
    let outcomes = own.read("outcomes", |node, name, findings| {
        values::one_or_more(node, name, findings, |node, name, findings| {
            read::word(node, name, findings, &OUTCOMES)
        })
    });
    Some(On::Automation { name: waits_for?, outcomes: outcomes.unwrap_or_default() })
}

fn watch(node: &Node, name: &str, own: &mut Fields<'_, '_>) -> Option<On> {
    needs(node, "command", name, "the command whose output is compared", own.findings);
    needs(node, "schedule", name, "when it is looked at", own.findings);
    let command = own.text("command");
    let schedule = match own.get("schedule") {
        Some(_) => schedule(own, "schedule"),
        None => None,
    };
    let timeout = own.read("timeout", values::duration).unwrap_or(WATCH);
    Some(On::Watch { command: command?, schedule: schedule?, timeout })
}

/// The keys of a schedule: the expression under `key`, its settings beside it.
fn schedule(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<ScheduleSettings> {
    let missed = [("skip", Missed::Skip), ("once", Missed::Once), ("all", Missed::All)];
    let cron = fields.read(key, |node, name, findings| {
        let text = read::text(node, name, findings)?;
        parsed(node, findings, text.parse::<Cron>())
    });
    let timezone = fields.read("timezone", |node, name, findings| {
        let text = read::text(node, name, findings)?;
        parsed(node, findings, text.parse::<Zone>())
    });
    let blackout = fields.read("blackout", |node, name, findings| {
        values::one_or_more(node, name, findings, |node, name, findings| {
            let text = read::text(node, name, findings)?;
            parsed(node, findings, text.parse::<Blackout>())
        })
    });
    let jitter = fields.read("jitter", values::duration).unwrap_or_default();
    let missed = fields.word("missed", &missed).unwrap_or_default();
    Some(ScheduleSettings {
        cron: cron?,
        timezone: timezone.unwrap_or_else(Zone::utc),
        jitter,
        blackout: blackout.unwrap_or_default(),
        missed,
    })
}

fn parsed<T, E: std::fmt::Display>(
    node: &Node,
    findings: &mut Findings,
    parsed: Result<T, E>,
) -> Option<T> {
    parsed.map_err(|error| findings.refuse(&node.place, error.to_string())).ok()
}

fn globs(fields: &mut Fields<'_, '_>, key: &'static str) -> Vec<Glob> {
    let globs = fields
        .read(key, |node, name, findings| values::one_or_more(node, name, findings, values::glob));
    globs.unwrap_or_default()
}

fn words(fields: &mut Fields<'_, '_>, key: &'static str, known: &[&str]) -> Vec<String> {
    let pairs: Vec<(&str, usize)> = known.iter().enumerate().map(|(n, word)| (*word, n)).collect();
    let found = fields.read(key, |node, name, findings| {
        values::one_or_more(node, name, findings, |node, name, findings| {
            read::word(node, name, findings, &pairs)
        })
    });
    found.unwrap_or_default().into_iter().map(|n| known[n].to_owned()).collect()
}

/// `high`, or `>=high`.
fn severity(node: &Node, name: &str, findings: &mut Findings) -> Option<Severity> {
    let text = read::text(node, name, findings)?;
    let words = [
        ("low", Severity::Low),
        ("medium", Severity::Medium),
        ("high", Severity::High),
        ("critical", Severity::Critical),
    ];
    let word = text.trim().trim_start_matches(">=").trim();
    read::word(&Node::new(&node.place, Value::Text(word.to_owned())), name, findings, &words)
}

/// `30/h`, or `{ most: 30, per: 1h }`.
fn rate(node: &Node, name: &str, findings: &mut Findings) -> Option<Rate> {
    if let Some(text) = node.text() {
        let parts = text.split_once('/').map(|(most, per)| (most.trim(), per.trim()));
        let per = parts.and_then(|(_, per)| match per {
            "m" | "minute" => Some(60),
            "h" | "hour" => Some(3_600),
            "d" | "day" => Some(86_400),
            _ => None,
        });
        let most = parts.and_then(|(most, _)| most.parse::<u32>().ok()).filter(|most| *most > 0);
        if let (Some(most), Some(per)) = (most, per) {
            return Some(Rate { most, per: Duration::from_secs(per) });
        }
        let what = format!("`{name}` must be so many in a time, such as 30/h, 5/m or 100/d");
        findings.refuse(&node.place, what);
        return None;
    }
    let mut fields = Fields::open(node, name, findings)?;
    let most = fields.read("most", |node, name, findings| values::count(node, name, 1, findings));
    let per = fields.read("per", values::duration);
    needs(node, "most", name, "how many", fields.findings);
    needs(node, "per", name, "in which time", fields.findings);
    fields.finish_strictly(UNKNOWN, &[]);
    Some(Rate { most: most?, per: per? })
}
