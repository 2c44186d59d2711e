//! Answers to an agent's requests for permission. A convenience, not a guard: what an agent can
//! reach is bounded by its environment, whether it asks or not.

use std::sync::Arc;

use agent_client_protocol::v1::schema as acp;
use futures::future::BoxFuture;
use windlass_wire::session::ToolKind;

use super::updates;
use crate::clip;

/// The policy for requests for permission.
#[derive(Clone)]
pub struct Permissions(Arc<dyn Decide>);

/// Decides about one request. May take its time (a person may be asked); a cancelled step drops the
/// future.
pub trait Decide: Send + Sync {
    /// The answer to `ask`.
    fn decide(&self, ask: Ask) -> BoxFuture<'static, Answer>;
}

/// What an agent asks for. All text is the agent's.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The tool call it is about.
    pub tool_call: String,
    /// One line for a person.
    pub title: String,
    /// What sort of tool it is, where the agent says so.
    pub kind: Option<ToolKind>,
    /// The tool's input as the agent reported it; `null` if it did not.
    pub input: serde_json::Value,
    /// The files it is about, where the agent says so.
    pub paths: Vec<String>,
}

/// An answer and the rule or the person behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// True if it may, this once.
    pub allow: bool,
    /// Why, for people.
    pub reason: String,
}

/// A rule that recognises requests. What is `None` is not looked at; what is given must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// A name for people, shown as the reason.
    pub name: String,
    /// The sort of tool.
    pub kind: Option<ToolKind>,
    /// A text that the title or the input holds, such as `git push`.
    pub holds: Option<String>,
    /// A path that every file it is about lies under. A request that names no file does not match.
    pub under: Option<String>,
}

impl Permissions {
    /// A policy of the caller's own.
    pub fn new(decide: impl Decide + 'static) -> Self {
        Self(Arc::new(decide))
    }

    /// Allows everything, once each time: the mode `auto` for agents that ask nevertheless.
    pub fn allow_once() -> Self {
        Self::rules(Vec::new(), Vec::new(), true)
    }

    /// Allows what a rule names and denies the rest: the mode `ask` when nobody is there to ask.
    pub fn deny_unless(allowed: Vec<Rule>) -> Self {
        Self::rules(allowed, Vec::new(), false)
    }

    /// Denies what a rule names and allows the rest.
    pub fn allow_unless(denied: Vec<Rule>) -> Self {
        Self::rules(Vec::new(), denied, true)
    }

    /// Denies everything, with this reason.
    pub fn deny_all(reason: &str) -> Self {
        let reason = reason.to_owned();
        Self::new(Fixed {
            allowed: Vec::new(),
            denied: Vec::new(),
            otherwise: Answer { allow: false, reason },
        })
    }

    fn rules(allowed: Vec<Rule>, denied: Vec<Rule>, otherwise: bool) -> Self {
        let reason =
            if otherwise { "allowed unless a rule denies" } else { "denied unless a rule allows" };
        Self::new(Fixed {
            allowed,
            denied,
            otherwise: Answer { allow: otherwise, reason: reason.to_owned() },
        })
    }

    pub(super) fn decide(&self, ask: Ask) -> BoxFuture<'static, Answer> {
        self.0.decide(ask)
    }
}

struct Fixed {
    allowed: Vec<Rule>,
    denied: Vec<Rule>,
    otherwise: Answer,
}

impl Decide for Fixed {
    fn decide(&self, ask: Ask) -> BoxFuture<'static, Answer> {
        // A denial wins, whatever else matches.
        let answer = if let Some(rule) = self.denied.iter().find(|rule| rule.matches(&ask)) {
            Answer { allow: false, reason: format!("denied by rule `{}`", rule.name) }
        } else if let Some(rule) = self.allowed.iter().find(|rule| rule.matches(&ask)) {
            Answer { allow: true, reason: format!("allowed by rule `{}`", rule.name) }
        } else {
            self.otherwise.clone()
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Rule {
    fn matches(&self, ask: &Ask) -> bool {
        let kind = self.kind.is_none_or(|kind| ask.kind == Some(kind));
        let holds = self
            .holds
            .as_ref()
            .is_none_or(|text| ask.title.contains(text) || holds(&ask.input, text));
        let under = self.under.as_ref().is_none_or(|root| {
            !ask.paths.is_empty() && ask.paths.iter().all(|path| lies_under(path, root))
        });
        kind && holds && under
    }
}

fn holds(value: &serde_json::Value, text: &str) -> bool {
    match value {
        serde_json::Value::String(string) => string.contains(text),
        serde_json::Value::Array(values) => {
            let words: Vec<&str> = values.iter().filter_map(|value| value.as_str()).collect();
            words.join(" ").contains(text) || values.iter().any(|value| holds(value, text))
        }
        serde_json::Value::Object(fields) => fields.values().any(|value| holds(value, text)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {
            false
        }
    }
}

fn lies_under(path: &str, root: &str) -> bool {
    let path = std::path::Path::new(path);
    let climbs = path.components().any(|part| matches!(part, std::path::Component::ParentDir));
    !climbs && path.starts_with(root)
}

impl Ask {
    /// Reads a request, shortening what is long.
    pub(super) fn read(request: &acp::RequestPermissionRequest) -> Self {
        let fields = &request.tool_call.fields;
        let input = fields.raw_input.clone().unwrap_or(serde_json::Value::Null);
        let tool_call = clip::head(&request.tool_call.tool_call_id.to_string(), 1000).to_owned();
        let title = match &fields.title {
            Some(title) => clip::printable(title.as_bytes(), 500),
            None => format!("tool call {}", clip::printable(tool_call.as_bytes(), 100)),
        };
        let paths = fields
            .locations
            .iter()
            .flatten()
            .map(|place| place.path.display().to_string())
            .collect();
        Self { tool_call, title, kind: fields.kind.map(updates::tool_kind), input, paths }
    }
}

/// The option of `request` that says what `answer` says. Allowing for ever is more than was decided,
/// so it is never chosen; denying for ever is, where there is no other way to deny.
pub(super) fn outcome(
    request: &acp::RequestPermissionRequest,
    answer: &Answer,
) -> (acp::RequestPermissionOutcome, bool) {
    let kinds: &[acp::PermissionOptionKind] = if answer.allow {
        &[acp::PermissionOptionKind::AllowOnce]
    } else {
        &[acp::PermissionOptionKind::RejectOnce, acp::PermissionOptionKind::RejectAlways]
    };
    let chosen =
        kinds.iter().find_map(|kind| request.options.iter().find(|option| option.kind == *kind));
    match chosen {
        Some(option) => {
            let selected = acp::SelectedPermissionOutcome::new(option.option_id.clone());
            (acp::RequestPermissionOutcome::Selected(selected), answer.allow)
        }
        None => (acp::RequestPermissionOutcome::Cancelled, false),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ask(title: &str, input: serde_json::Value, paths: &[&str]) -> Ask {
        Ask {
            tool_call: "t1".to_owned(),
            title: title.to_owned(),
            kind: Some(ToolKind::Execute),
            input,
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }
    }

    async fn allows(permissions: &Permissions, ask: Ask) -> bool {
        permissions.decide(ask).await.allow
    }

    #[tokio::test]
    async fn a_denial_is_found_in_the_title_and_anywhere_in_the_input() {
        let rule = Rule {
            name: "no push".to_owned(),
            holds: Some("git push".to_owned()),
            ..Rule::default()
        };
        let permissions = Permissions::allow_unless(vec![rule]);
        assert!(!allows(&permissions, ask("git push origin", json!(null), &[])).await);
        assert!(
            !allows(&permissions, ask("Terminal", json!({"command": "cd x && git push"}), &[]))
                .await
        );
        assert!(
            !allows(&permissions, ask("Terminal", json!({"command": ["git", "push"]}), &[])).await
        );
        assert!(allows(&permissions, ask("Terminal", json!({"command": "git status"}), &[])).await);
    }

    #[tokio::test]
    async fn asking_denies_what_no_rule_allows() {
        let rule = Rule {
            name: "the tree".to_owned(),
            kind: Some(ToolKind::Execute),
            under: Some("/repo".to_owned()),
            ..Rule::default()
        };
        let permissions = Permissions::deny_unless(vec![rule]);
        assert!(allows(&permissions, ask("x", json!(null), &["/repo/a"])).await);
        assert!(!allows(&permissions, ask("x", json!(null), &["/repo/a", "/etc/passwd"])).await);
        assert!(!allows(&permissions, ask("x", json!(null), &["/repo/../etc/passwd"])).await);
        assert!(!allows(&permissions, ask("x", json!(null), &["/repository/a"])).await);
        assert!(!allows(&permissions, ask("x", json!(null), &[])).await);
    }

    fn request(kinds: &[acp::PermissionOptionKind]) -> acp::RequestPermissionRequest {
        let options = kinds
            .iter()
            .map(|kind| acp::PermissionOption::new(format!("{kind:?}"), "name", *kind))
            .collect();
        let update = acp::ToolCallUpdate::new("t1", acp::ToolCallUpdateFields::new());
        acp::RequestPermissionRequest::new("s1", update, options)
    }

    #[test]
    fn permission_for_ever_is_never_given() {
        use acp::PermissionOptionKind::{AllowAlways, AllowOnce, RejectAlways, RejectOnce};
        let chosen = |kinds: &[acp::PermissionOptionKind], allow| match outcome(
            &request(kinds),
            &Answer { allow, reason: String::new() },
        ) {
            (acp::RequestPermissionOutcome::Selected(selected), allowed) => {
                (selected.option_id.to_string(), allowed)
            }
            (_, allowed) => ("cancelled".to_owned(), allowed),
        };
        assert_eq!(
            chosen(&[AllowAlways, AllowOnce, RejectOnce], true),
            ("AllowOnce".to_owned(), true)
        );
        assert_eq!(chosen(&[AllowAlways, RejectOnce], true), ("cancelled".to_owned(), false));
        assert_eq!(chosen(&[AllowAlways, RejectAlways], false), ("RejectAlways".to_owned(), false));
        assert_eq!(chosen(&[AllowAlways], false), ("cancelled".to_owned(), false));
    }
}
