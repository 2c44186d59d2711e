//! Events: what happened, as triggers see it, and what became of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use windlass_run::{EventId, ProjectId, RunId};

/// An event as a list shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventSummary {
    /// Its id.
    #[schemars(with = "String")]
    pub id: EventId,
    /// Where it comes from: `github/acme/api`, `local/billing`, `webhook/pager`, `schedule`, ...
    pub source: String,
    /// The sender's id of it. Of an event that was replayed it says which one is repeated.
    pub delivery: String,
    /// What happened: a family, or a family, a dot and an action, such as `pull_request.opened`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about: `pull_request/12`, `refs/heads/main`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The project that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// That project's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub project_id: Option<ProjectId>,
    /// Who caused it, as the source knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<EventActor>,
    /// How far its text may be trusted: `own`, `member`, `known` or `public`.
    pub trust: String,
    /// When it happened.
    pub time: i64,
    /// When it arrived.
    pub received_at: i64,
    /// The event that it repeats, if somebody replayed that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub repeats: Option<EventId>,
    /// When it was handled; absent while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled_at: Option<i64>,
    /// What came of it, in a word or a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// An event with what it says and what triggers made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// What a list shows of it.
    #[serde(flatten)]
    pub summary: EventSummary,
    /// The runs that it descends from, the oldest first.
    pub ancestry: Vec<EventAncestor>,
    /// What triggers made of it.
    pub firings: Vec<EventFiring>,
    /// What its source says of it. Untrusted.
    pub data: Value,
}

/// Who caused an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventActor {
    /// The name at the source.
    pub name: String,
    /// The source's id of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether it is a program.
    pub bot: bool,
}

/// One generation of an event's ancestry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventAncestor {
    /// The event that started the run.
    #[schemars(with = "String")]
    pub event_id: EventId,
    /// The run.
    #[schemars(with = "String")]
    pub run_id: RunId,
    /// The name of its automation; empty for a task.
    pub automation: String,
}

/// What a trigger made of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventFiring {
    /// The automation.
    pub automation: String,
    /// The trigger's own name for itself.
    pub trigger: String,
    /// The run that it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub run_id: Option<RunId>,
    /// One word: `fired`, `filtered`, ...
    pub outcome: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: i64,
}

/// Which events are wanted. What is given must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// `next` of the page before; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many entries, 1 to 200. 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those from there, in full: `github/acme/api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only those of this family (`pull_request`) or type (`pull_request.opened`).
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only those about this: `pull_request/12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Only those of this project, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Only those that were caused by whoever has this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Only those of this trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// Only those that were handled, or that wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled: Option<bool>,
    /// Only those that arrived then or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// Only those with all of these words in them, the last one as a prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}
