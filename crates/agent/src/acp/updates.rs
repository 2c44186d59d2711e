//! Translates ACP's session updates into session events, shortening what is long. Pure but for a
//! memory of the tool calls that were seen.

use std::collections::HashMap;

use agent_client_protocol::v1::schema as acp;
use windlass_wire::session::{Event, FileDiff, PlanEntry, ToolKind, ToolStatus};

use super::ClaimedCost;
use crate::clip;

/// The most bytes of a title.
const TITLE: usize = 1000;
/// The most bytes of a path.
const PATH: usize = 4096;
/// The most files of one update that are kept.
const DIFFS: usize = 100;
/// The most entries of a plan that are kept.
const PLAN: usize = 200;
/// The most tool calls that are remembered at a time.
const CALLS: usize = 1000;

/// Translates the updates of one session.
pub(super) struct Translator {
    calls: HashMap<String, Call>,
    output: usize,
    mode: Option<String>,
    cost: Option<ClaimedCost>,
}

struct Call {
    title: String,
    kind: ToolKind,
    input: serde_json::Value,
    status: ToolStatus,
    /// What a terminal printed so far, for agents that send it piece by piece.
    streamed: String,
}

impl Translator {
    /// `output` is the most bytes of one output or one side of a diff.
    pub(super) fn new(output: usize) -> Self {
        Self { calls: HashMap::new(), output, mode: None, cost: None }
    }

    /// The mode that was set; a change that the agent makes on its own is then reported.
    pub(super) fn mode_set(&mut self, mode: Option<String>) {
        self.mode = mode;
    }

    /// What the agent says that the session cost so far.
    pub(super) fn cost(&self) -> Option<ClaimedCost> {
        self.cost.clone()
    }

    /// How many tool calls have begun and not ended.
    pub(super) fn open_calls(&self) -> usize {
        self.calls
            .values()
            .filter(|call| matches!(call.status, ToolStatus::Pending | ToolStatus::InProgress))
            .count()
    }

    /// A turn ended: whatever was open will not be heard of again.
    pub(super) fn turn_ended(&mut self) {
        self.calls.clear();
    }

    /// The events that say what `update` says; none for updates that only serve an editor.
    pub(super) fn events(&mut self, update: acp::SessionUpdate) -> Vec<Event> {
        match update {
            acp::SessionUpdate::AgentMessageChunk(chunk) => {
                text_of(&chunk.content).map(|text| Event::Message { text }).into_iter().collect()
            }
            acp::SessionUpdate::AgentThoughtChunk(chunk) => {
                text_of(&chunk.content).map(|text| Event::Thought { text }).into_iter().collect()
            }
            acp::SessionUpdate::ToolCall(call) => self.call(call),
            acp::SessionUpdate::ToolCallUpdate(update) => self.update(update),
            acp::SessionUpdate::Plan(plan) => vec![Event::Plan { entries: self.plan(plan) }],
            acp::SessionUpdate::CurrentModeUpdate(update) => {
                self.mode_changed(&update.current_mode_id.to_string())
            }
            acp::SessionUpdate::UsageUpdate(usage) => {
                if let Some(cost) = usage.cost {
                    let currency = clip::printable(cost.currency.as_bytes(), 10);
                    self.cost = Some(ClaimedCost { amount: cost.amount, currency });
                }
                Vec::new()
            }
            acp::SessionUpdate::Notice(notice) => match notice.severity {
                acp::NoticeSeverity::Info => Vec::new(),
                _ => {
                    let description = notice.description.unwrap_or_default();
                    let text = format!("The agent says: {}\n{description}", notice.title);
                    vec![Event::Problem { text: clip::head_and_tail(text.trim_end(), self.output) }]
                }
            },
            // Ours come back as `UserMessageChunk`; the rest is for editors' menus and titles.
            _ => Vec::new(),
        }
    }

    fn call(&mut self, call: acp::ToolCall) -> Vec<Event> {
        let id = call.tool_call_id.to_string();
        let fields = acp::ToolCallUpdateFields::new()
            .title(call.title)
            .kind(call.kind)
            .status(call.status)
            .content(call.content)
            .raw_input(call.raw_input)
            .raw_output(call.raw_output);
        self.calls.remove(&id);
        self.apply(id, fields, call.meta.as_ref())
    }

    fn update(&mut self, update: acp::ToolCallUpdate) -> Vec<Event> {
        self.apply(update.tool_call_id.to_string(), update.fields, update.meta.as_ref())
    }

    fn apply(
        &mut self,
        id: String,
        fields: acp::ToolCallUpdateFields,
        meta: Option<&acp::Meta>,
    ) -> Vec<Event> {
        let id = clip::head(&id, TITLE).to_owned();
        let mut events = Vec::new();
        if self.calls.len() >= CALLS && !self.calls.contains_key(&id) {
            self.calls.clear();
        }
        let is_new = !self.calls.contains_key(&id);
        let call = self.calls.entry(id.clone()).or_insert_with(|| Call {
            title: "tool call".to_owned(),
            kind: ToolKind::Other,
            input: serde_json::Value::Null,
            status: ToolStatus::Pending,
            streamed: String::new(),
        });
        let before = (call.title.clone(), call.kind, call.input.clone());
        if let Some(title) = fields.title.filter(|title| !title.trim().is_empty()) {
            call.title = clip::printable(title.as_bytes(), TITLE);
        }
        if let Some(kind) = fields.kind {
            call.kind = tool_kind(kind);
        }
        if let Some(input) = fields.raw_input {
            call.input = bounded(input, self.output);
        }
        if is_new || before != (call.title.clone(), call.kind, call.input.clone()) {
            events.push(Event::ToolCall {
                id: id.clone(),
                title: call.title.clone(),
                kind: call.kind,
                input: call.input.clone(),
            });
        }
        let old_status = call.status;
        if let Some(status) = fields.status {
            call.status = tool_status(status);
        }
        let content = fields.content.unwrap_or_default();
        let mut diffs = diffs_of(&content, self.output);
        diffs.truncate(DIFFS);
        let piece = terminal_output(meta);
        if let Some(piece) = piece {
            call.streamed.push_str(piece);
            if call.streamed.len() > 4 * self.output {
                call.streamed = clip::head_and_tail(&call.streamed, 2 * self.output);
            }
        }
        let output = output_of(&content)
            .or_else(|| piece.map(|_| call.streamed.clone()))
            .or_else(|| fields.raw_output.as_ref().and_then(raw_output));
        let output = output.map(|text| clip::head_and_tail(&text, self.output));
        if call.status != old_status || output.is_some() || !diffs.is_empty() {
            events.push(Event::ToolUpdate { id, status: call.status, output, diffs });
        }
        events
    }

    fn plan(&self, plan: acp::Plan) -> Vec<PlanEntry> {
        plan.entries
            .into_iter()
            .take(PLAN)
            .map(|entry| PlanEntry {
                text: clip::head(&entry.content, TITLE).to_owned(),
                status: match entry.status {
                    acp::PlanEntryStatus::InProgress => "in_progress",
                    acp::PlanEntryStatus::Completed => "completed",
                    _ => "pending",
                }
                .to_owned(),
            })
            .collect()
    }

    fn mode_changed(&mut self, mode: &str) -> Vec<Event> {
        let Some(set) = &self.mode else { return Vec::new() };
        if set == mode {
            return Vec::new();
        }
        let text = format!(
            "The agent changed its mode from `{}` to `{}` on its own.",
            clip::printable(set.as_bytes(), 100),
            clip::printable(mode.as_bytes(), 100)
        );
        self.mode = Some(mode.to_owned());
        vec![Event::Problem { text }]
    }
}

/// ACP's kind of a tool as ours.
pub(super) fn tool_kind(kind: acp::ToolKind) -> ToolKind {
    match kind {
        acp::ToolKind::Read => ToolKind::Read,
        acp::ToolKind::Edit => ToolKind::Edit,
        acp::ToolKind::Delete => ToolKind::Delete,
        acp::ToolKind::Move => ToolKind::Move,
        acp::ToolKind::Search => ToolKind::Search,
        acp::ToolKind::Execute => ToolKind::Execute,
        acp::ToolKind::Think => ToolKind::Think,
        acp::ToolKind::Fetch => ToolKind::Fetch,
        _ => ToolKind::Other,
    }
}

fn tool_status(status: acp::ToolCallStatus) -> ToolStatus {
    match status {
        acp::ToolCallStatus::InProgress => ToolStatus::InProgress,
        acp::ToolCallStatus::Completed => ToolStatus::Completed,
        acp::ToolCallStatus::Failed => ToolStatus::Failed,
        _ => ToolStatus::Pending,
    }
}

fn text_of(content: &acp::ContentBlock) -> Option<String> {
    match content {
        acp::ContentBlock::Text(text) => Some(text.text.clone()).filter(|text| !text.is_empty()),
        acp::ContentBlock::Image(_) => Some("[an image]".to_owned()),
        acp::ContentBlock::Audio(_) => Some("[a sound]".to_owned()),
        acp::ContentBlock::ResourceLink(link) => Some(format!("[{}]({})", link.name, link.uri)),
        acp::ContentBlock::Resource(resource) => match &resource.resource {
            acp::EmbeddedResourceResource::TextResourceContents(text) => Some(text.text.clone()),
            _ => Some("[a file]".to_owned()),
        },
        _ => None,
    }
}

fn output_of(content: &[acp::ToolCallContent]) -> Option<String> {
    let texts: Vec<String> = content
        .iter()
        .filter_map(|part| match part {
            acp::ToolCallContent::Content(content) => text_of(&content.content),
            _ => None,
        })
        .collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// Codex's adapter sends what a command printed only here, piece by piece, also to clients that
/// offer no terminal.
fn terminal_output(meta: Option<&acp::Meta>) -> Option<&str> {
    meta?.get("terminal_output_delta")?.get("data")?.as_str()
}

/// Agents that put the output only into `rawOutput` use a text, or an object with one of these.
fn raw_output(value: &serde_json::Value) -> Option<String> {
    const FIELDS: [&str; 6] =
        ["formatted_output", "aggregated_output", "output", "stdout", "content", "error"];
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Object(fields) => FIELDS
            .iter()
            .find_map(|name| fields.get(*name).and_then(serde_json::Value::as_str))
            .map(str::to_owned)
            .or_else(|| Some(value.to_string())),
        other => Some(other.to_string()),
    }
}

fn diffs_of(content: &[acp::ToolCallContent], max: usize) -> Vec<FileDiff> {
    content
        .iter()
        .filter_map(|part| match part {
            acp::ToolCallContent::Diff(diff) => Some(FileDiff {
                path: clip::head(&diff.path.display().to_string(), PATH).to_owned(),
                old: diff.old_text.as_ref().map(|text| clip::head_and_tail(text, max)),
                new: clip::head_and_tail(&diff.new_text, max),
            }),
            _ => None,
        })
        .collect()
}

/// A tool's input, with long texts shortened; if it is still too big, its JSON as a shortened text.
fn bounded(value: serde_json::Value, max: usize) -> serde_json::Value {
    let text = value.to_string();
    if text.len() <= max {
        return value;
    }
    let shortened = shorten(value, max / 8);
    let text = shortened.to_string();
    if text.len() <= max {
        shortened
    } else {
        serde_json::Value::String(clip::head_and_tail(&text, max))
    }
}

fn shorten(value: serde_json::Value, max: usize) -> serde_json::Value {
    match value {
        serde_json::Value::String(text) => {
            serde_json::Value::String(clip::head_and_tail(&text, max))
        }
        serde_json::Value::Array(values) => {
            values.into_iter().map(|value| shorten(value, max)).collect()
        }
        serde_json::Value::Object(fields) => serde_json::Value::Object(
            fields.into_iter().map(|(name, value)| (name, shorten(value, max))).collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn events(translator: &mut Translator, update: serde_json::Value) -> Vec<Event> {
        translator.events(serde_json::from_value(update).unwrap())
    }

    #[test]
    fn a_call_that_learns_its_title_later_is_announced_again() {
        let mut translator = Translator::new(1000);
        let first = events(
            &mut translator,
            json!({"sessionUpdate": "tool_call", "toolCallId": "a", "title": "Terminal", "kind": "execute"}),
        );
        assert_eq!(
            first,
            vec![Event::ToolCall {
                id: "a".to_owned(),
                title: "Terminal".to_owned(),
                kind: ToolKind::Execute,
                input: json!(null)
            }]
        );
        let second = events(
            &mut translator,
            json!({"sessionUpdate": "tool_call_update", "toolCallId": "a", "title": "make", "rawInput": {"command": "make"}}),
        );
        assert_eq!(
            second,
            vec![Event::ToolCall {
                id: "a".to_owned(),
                title: "make".to_owned(),
                kind: ToolKind::Execute,
                input: json!({"command": "make"})
            }]
        );
        assert_eq!(translator.open_calls(), 1);
        let third = events(
            &mut translator,
            json!({"sessionUpdate": "tool_call_update", "toolCallId": "a", "status": "completed",
                "rawOutput": {"stdout": "ok", "exit_code": 0},
                "content": [{"type": "diff", "path": "/repo/a", "newText": "x"}]}),
        );
        assert_eq!(
            third,
            vec![Event::ToolUpdate {
                id: "a".to_owned(),
                status: ToolStatus::Completed,
                output: Some("ok".to_owned()),
                diffs: vec![FileDiff {
                    path: "/repo/a".to_owned(),
                    old: None,
                    new: "x".to_owned()
                }]
            }]
        );
        assert_eq!(translator.open_calls(), 0);
    }

    #[test]
    fn output_that_comes_in_pieces_is_shown_whole() {
        let mut translator = Translator::new(1000);
        let piece = |data: &str| {
            json!({"sessionUpdate": "tool_call_update", "toolCallId": "a", "status": "in_progress",
                "_meta": {"terminal_output_delta": {"terminal_id": "a", "data": data}}})
        };
        events(&mut translator, piece("one\n"));
        assert_eq!(
            events(&mut translator, piece("two\n")),
            vec![Event::ToolUpdate {
                id: "a".to_owned(),
                status: ToolStatus::InProgress,
                output: Some("one\ntwo\n".to_owned()),
                diffs: vec![]
            }]
        );
    }

    #[test]
    fn long_texts_are_shortened() {
        let mut translator = Translator::new(1000);
        let long = "x".repeat(100_000);
        let all = events(
            &mut translator,
            json!({"sessionUpdate": "tool_call", "toolCallId": "a", "title": long, "rawInput": {"a": long, "b": "short"},
                "content": [{"type": "content", "content": {"type": "text", "text": long}}]}),
        );
        assert!(serde_json::to_string(&all).unwrap().len() < 4000);
        assert!(serde_json::to_string(&all).unwrap().contains("short"));
    }

    #[test]
    fn a_mode_that_the_agent_changes_is_reported_once() {
        let mut translator = Translator::new(1000);
        translator.mode_set(Some("ask".to_owned()));
        let change = json!({"sessionUpdate": "current_mode_update", "currentModeId": "full"});
        assert_eq!(
            events(&mut translator, change.clone()),
            vec![Event::Problem {
                text: "The agent changed its mode from `ask` to `full` on its own.".to_owned()
            }]
        );
        assert_eq!(events(&mut translator, change), vec![]);
    }

    #[test]
    fn updates_for_editors_say_nothing() {
        let mut translator = Translator::new(1000);
        for update in [
            json!({"sessionUpdate": "available_commands_update", "availableCommands": []}),
            json!({"sessionUpdate": "user_message_chunk", "content": {"type": "text", "text": "x"}}),
            json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": ""}}),
        ] {
            assert_eq!(events(&mut translator, update), vec![]);
        }
    }
}
