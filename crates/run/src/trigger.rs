//! Triggers: whether an event starts an automation, with which inputs, and if not, why not. Every answer is
//! a value that can be kept and shown: an event that started nothing is as explainable as one that did.
//!
//! [`looks`] judges what the event alone shows; [`admits`] judges what only the past shows, which whoever
//! keeps it brings along as [`Past`].

mod address;
mod forge;
mod rehearsal;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

pub use address::{arrives_at, key, waits_at};
pub use rehearsal::Rehearsal;

use crate::{
    Duration, Time,
    automation::{Automation, InvalidInput, On, Rate, Trigger},
    event::{Event, Loop, Trust},
    expression::{NoValue, Scope},
    job::Outcome,
    spec::Given,
};

/// How many runs may come one from another where no policy says it.
pub const DEEPEST_CHAIN: usize = 5;

/// What an event would start.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The inputs, complete and of their kinds.
    pub inputs: Map<String, Value>,
    /// What makes two events the same for this trigger.
    pub key: String,
    /// What the cooldown is counted for.
    pub subject: String,
}

/// Why an event starts nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum WhyNot {
    /// It is not what the trigger waits for.
    Other,
    /// The automation is switched off.
    Disabled,
    /// Its text may be anybody's.
    Trust {
        /// How far it is trusted.
        is: Trust,
        /// How far it must be.
        least: Trust,
    },
    /// It descends from too many runs, or from one of this automation.
    Loop {
        /// Which, in words.
        what: String,
    },
    /// The filter does not hold.
    Filtered,
    /// An expression of the trigger has no value for it.
    NoValue(NoValue),
    /// The inputs that it gives can't be taken.
    Inputs {
        /// Which and why.
        invalid: Vec<InvalidInput>,
    },
    /// It was there before.
    Duplicate {
        /// When.
        of: Time,
    },
    /// Something about the same was started a moment ago.
    Cooldown {
        /// Until when nothing else is.
        until: Time,
    },
    /// As much was started as may be.
    Rate {
        /// Until when nothing else is.
        until: Time,
    },
}

/// What a trigger did before, as far as it matters for one [`Start`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// When an event with the same key last started something.
    pub same_key: Option<Time>,
    /// When an event of the same subject last started something.
    pub same_subject: Option<Time>,
    /// When the last-but-so-many start was, so many being [`Rate::most`] less one: if it is younger than
    /// [`Rate::per`], the rate is used up.
    pub rate_began: Option<Time>,
}

/// Whether an event is one that a trigger starts something for.
///
/// # Errors
/// Why not.
pub fn looks(
    automation: &Automation,
    trigger: &Trigger,
    event: &Event,
    deepest: usize,
) -> Result<Start, WhyNot> {
    if !waits_for(&trigger.on, event) {
        return Err(WhyNot::Other);
    }
    if !automation.enabled {
        return Err(WhyNot::Disabled);
    }
    if let Some(found) = event.ancestry.forbids(automation.name.as_str(), deepest) {
        return Err(found.into());
    }
    if !event.trust.reaches(trigger.trust) {
        return Err(WhyNot::Trust { is: event.trust, least: trigger.trust });
    }
    let scope = Scope::default().with("event", event.as_context());
    if let Some(filter) = &trigger.filter
        && !filter.holds(&scope).map_err(WhyNot::NoValue)?
    {
        return Err(WhyNot::Filtered);
    }
    let mut given = match &trigger.on {
        // What somebody gave by hand, or what a call of the API did.
        On::Manual => event.data["inputs"].as_object().cloned().unwrap_or_default(),
        _ => Map::new(),
    };
    for (name, value) in &trigger.inputs {
        let value = match value {
            Given::Value(value) => value.clone(),
            Given::Text(crate::template::Text::Plain(text)) => Value::String(text.clone()),
            Given::Text(crate::template::Text::Template(template)) => {
                template.value(&scope).map_err(WhyNot::NoValue)?
            }
        };
        given.insert(name.clone(), value);
    }
    let inputs = automation.take_inputs(&given).map_err(|invalid| WhyNot::Inputs { invalid })?;
    let key = match &trigger.dedup {
        Some(dedup) => dedup.text(&scope).map_err(WhyNot::NoValue)?,
        None => digest(&trigger.on, event),
    };
    let subject = event.subject.as_deref().unwrap_or_default();
    Ok(Start { inputs, key, subject: format!("{} {subject}", event.source) })
}

/// Whether what was before lets a trigger start something now.
///
/// # Errors
/// Why not.
pub fn admits(trigger: &Trigger, past: &Past, now: Time) -> Result<(), WhyNot> {
    if let Some(of) = past.same_key.filter(|last| now.since(*last) < trigger.dedup_for) {
        return Err(WhyNot::Duplicate { of });
    }
    let over = |last: Option<Time>, span: Duration| {
        last.map(|last| last + span).filter(|until| now < *until)
    };
    if let Some(until) = over(past.same_subject, trigger.cooldown) {
        return Err(WhyNot::Cooldown { until });
    }
    match trigger.rate {
        Some(Rate { per, .. }) => match over(past.rate_began, per) {
            Some(until) => Err(WhyNot::Rate { until }),
            None => Ok(()),
        },
        None => Ok(()),
    }
}

/// Whether an event is of the kind that a trigger waits for. Costs nothing for those that are not.
pub fn waits_for(on: &On, event: &Event) -> bool {
    match on {
        On::Manual => event.kind == "manual",
        On::Schedule(_) => event.kind == "schedule",
        On::Webhook { source } => {
            event.kind == "webhook" && event.source.strip_prefix("webhook/") == Some(source)
        }
        On::Automation { name, outcomes } => {
            event.family() == "automation"
                && event.subject.as_deref() == Some(name.as_str())
                && (outcomes.is_empty()
                    || event.action().is_some_and(|done| is_one_of(outcomes, done)))
        }
        On::Advisory { .. } => event.family() == "advisory" && forge::advisory(on, event),
        On::Drift { path, .. } => {
            event.kind == "drift" && event.subject.as_deref() == Some(path.as_str())
        }
        On::Watch { .. } => event.kind == "watch",
        _ => forge::waits_for(on, event),
    }
}

fn is_one_of(outcomes: &[Outcome], done: &str) -> bool {
    outcomes.iter().any(|outcome| json!(outcome).as_str() == Some(done))
}

/// What makes two events one where the file does not say: the state that they tell of, and not the words
/// around it. A pull request is the same event again for the same newest commit and action.
fn digest(on: &On, event: &Event) -> String {
    let told = match on {
        On::PullRequest { .. } => {
            let pull = &event.data["pull_request"];
            json!([event.data["action"], pull["number"], pull["head_commit"], pull["labels"]])
        }
        On::Schedule(_) | On::Manual => json!(event.delivery),
        _ => event.data.clone(),
    };
    let mut hash = Sha256::new();
    for part in [&event.source, &event.kind, event.subject.as_deref().unwrap_or_default()] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.update(told.to_string());
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        use fmt::Write as _;
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

impl WhyNot {
    /// One word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Disabled => "disabled",
            Self::Trust { .. } => "untrusted",
            Self::Loop { .. } => "loop",
            Self::Filtered => "filtered",
            Self::NoValue(_) => "no_value",
            Self::Inputs { .. } => "inputs",
            Self::Duplicate { .. } => "duplicate",
            Self::Cooldown { .. } => "cooldown",
            Self::Rate { .. } => "rate",
        }
    }
}

impl From<Loop> for WhyNot {
    fn from(found: Loop) -> Self {
        Self::Loop { what: found.to_string() }
    }
}

impl fmt::Display for WhyNot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other => formatter.write_str("it is not what the trigger waits for"),
            Self::Disabled => formatter.write_str("the automation is switched off"),
            Self::Trust { is, least } => write!(
                formatter,
                "its text is trusted as `{}`, and the trigger asks for `{}`",
                is.name(),
                least.name()
            ),
            Self::Loop { what } => formatter.write_str(what),
            Self::Filtered => formatter.write_str("the filter does not hold"),
            Self::NoValue(no_value) => no_value.fmt(formatter),
            Self::Inputs { invalid } => {
                let invalid: Vec<String> = invalid.iter().map(ToString::to_string).collect();
                formatter.write_str(&invalid.join("; "))
            }
            Self::Duplicate { .. } => formatter.write_str("the same started a run before"),
            Self::Cooldown { .. } => {
                formatter.write_str("something about the same was started a moment ago")
            }
            Self::Rate { .. } => formatter.write_str("as many runs were started as may be"),
        }
    }
}
