//! Events: what happened, in one form whatever it came from. The envelope is that of CloudEvents 1.0
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>), with what triggers need
//! beside it: who caused it, how far its text may be trusted, and which runs it descends from.
//!
//! All text in [`Event::data`] was written by somebody else. Nothing here reads it for meaning.

mod ancestry;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use ancestry::{Ancestry, Link, Loop};

use crate::{EventId, ProjectId, Time};

/// The version of CloudEvents that the envelope follows.
pub const SPEC_VERSION: &str = "1.0";

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Where it comes from: `github/acme/api`, `local/billing`, `webhook/pagerduty`, `schedule`,
    /// `person`, `automation`. Unique together with [`delivery`](Self::delivery).
    pub source: String,
    /// The sender's own id of it; the same id from the same source is the same event. What is made here
    /// has one that says what made it.
    pub delivery: String,
    /// What happened, as `family` or `family.action`: `push`, `tag`, `pull_request.opened`,
    /// `review.submitted`, `comment.created`, `issue.labeled`, `check.completed`, `release.published`,
    /// `webhook`, `schedule`, `manual`, `automation.succeeded`, `advisory`, `drift`, `watch`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about, within its source: `pull_request/12`, `refs/heads/main`, `issue/7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened, as the sender says, or else when it arrived.
    pub time: Time,
    /// The project whose repository it concerns, where that is one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Who caused it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Cause>,
    /// How far the text in it may be trusted.
    pub trust: Trust,
    /// The runs that it descends from, the oldest first; empty for what came from outside.
    #[serde(default, skip_serializing_if = "Ancestry::is_empty")]
    pub ancestry: Ancestry,
    /// What the source says of it.
    #[serde(default)]
    pub data: Value,
}

/// Who caused an event, as its source knows them. Not a user of this installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// The name at the source.
    pub name: String,
    /// The source's id of the account, which a rename does not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether it is a program.
    #[serde(default)]
    pub bot: bool,
}

/// How far the text of an event may be trusted, the most first: whose words an agent would read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Windlass made it, or somebody with an account here.
    Own,
    /// Somebody who may write to the repository, or a sender that holds a secret of ours.
    Member,
    /// Somebody whose work was accepted before, without the right to write.
    Known,
    /// Anybody.
    Public,
}

impl Trust {
    /// The word of files, the API and the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Member => "member",
            Self::Known => "known",
            Self::Public => "public",
        }
    }

    /// Whether text of this class may stand where at least `least` is asked for.
    pub fn reaches(self, least: Self) -> bool {
        self <= least
    }
}

impl Event {
    /// The part of [`kind`](Self::kind) before the dot.
    pub fn family(&self) -> &str {
        self.kind.split_once('.').map_or(self.kind.as_str(), |(family, _)| family)
    }

    /// The part of [`kind`](Self::kind) after the dot.
    pub fn action(&self) -> Option<&str> {
        self.kind.split_once('.').map(|(_, action)| action)
    }

    /// What conditions and templates see as `event`.
    pub fn as_context(&self) -> Value {
        let mut context = serde_json::json!({
            "id": self.id,
            "source": self.source,
            "type": self.kind,
            "family": self.family(),
            "action": self.action().unwrap_or_default(),
            "subject": self.subject.as_deref().unwrap_or_default(),
            "time": self.time.as_micros(),
            "trust": self.trust,
            "actor": { "name": "", "id": "", "bot": false },
            "data": self.data,
        });
        if let Some(actor) = &self.actor {
            context["actor"] = serde_json::json!({
                "name": actor.name,
                "id": actor.id.as_deref().unwrap_or_default(),
                "bot": actor.bot,
            });
        }
        context
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_and_an_action_are_told_apart() {
        let event = |kind: &str| Event {
            id: EventId::new(Time::from_micros(1), 1),
            source: "github/acme/api".to_owned(),
            delivery: "1".to_owned(),
            kind: kind.to_owned(),
            subject: None,
            time: Time::from_micros(1),
            project_id: None,
            actor: None,
            trust: Trust::Public,
            ancestry: Ancestry::default(),
            data: Value::Null,
        };
        assert_eq!(event("push").family(), "push");
        assert_eq!(event("push").action(), None);
        assert_eq!(event("review.submitted").family(), "review");
        assert_eq!(event("review.submitted").action(), Some("submitted"));
    }

    #[test]
    fn trust_reaches_what_asks_for_less() {
        assert!(Trust::Own.reaches(Trust::Member));
        assert!(Trust::Public.reaches(Trust::Public));
        assert!(!Trust::Public.reaches(Trust::Known));
    }
}
