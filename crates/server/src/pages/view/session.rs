//! A session folded into what a person reads: pieces of a message joined, a tool call with its
//! updates, permission and diffs as one item. Folding is the same for a whole session and for one that
//! is watched live: each entry touches one item, and only that item is shown again.

use std::collections::BTreeSet;

use askama::{Template, filters::HtmlSafe};
use windlass_run::Time;
use windlass_wire::session::{Entry, Event, FileDiff, PermissionDecision, ToolKind, ToolStatus};

use super::{Html, Moment, State, Text, diff::FileView};
use crate::pages::{ansi::Terminal, diff, markdown, text::cut, when};

/// The most text of a tool's input or output that is shown, in bytes.
const TOOL_MAX: usize = 16 * 1024;
/// The most text of one message that is kept for showing, in bytes.
const MESSAGE_MAX: usize = 128 * 1024;

/// A session, folded.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The agent's name.
    pub(crate) agent: Text,
    /// True if the model's answers come from a file that we wrote.
    pub(crate) is_scripted: bool,
    /// The newest entry, 0 for none.
    pub(crate) last: u64,
    /// What the model door metered, so far.
    pub(crate) usage: Option<Usage>,
    now: Time,
    items: Vec<Item>,
    touched: BTreeSet<usize>,
}

/// Tokens and calls, so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cached: u64,
    pub(crate) calls: u64,
}

impl Usage {
    /// In one line.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} tokens in, {} out, {} from cache, {} calls",
            when::count(self.input),
            when::count(self.output),
            when::count(self.cached),
            when::count(self.calls)
        )
    }
}

/// One item of a folded session.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "parts/session_item.html")]
pub(crate) struct Item {
    /// The number of its first entry: its id on the page.
    pub(crate) id: u64,
    /// The agent's name.
    pub(crate) agent: Text,
    /// When it began.
    pub(crate) at: Moment,
    /// What it is.
    pub(crate) body: Body,
}

impl HtmlSafe for Item {}

/// What an item is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    /// The agent is there.
    Started { version: Option<Text>, mode: Option<Text>, model: Option<Text>, is_scripted: bool },
    /// What the platform asked.
    Prompt { turn: u32, text: String },
    /// What the agent said.
    Said(String),
    /// What it thought, where it shows it.
    Thought(String),
    /// A tool call.
    Tool(Box<Tool>),
    /// A question without a known tool call, and its answer.
    Permission(Permission),
    /// The agent's plan.
    Plan(Vec<PlanLine>),
    /// A command that the platform ran.
    Verify { command: Text, exit_code: Option<i32>, output: String },
    /// The agent's report of why there is no change.
    GaveUp { tried: Vec<Text>, because: Text, unblock: Text },
    /// The turn is over.
    TurnEnded(Text),
    /// Something went wrong.
    Problem(Text),
}

/// A tool call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tool {
    key: String,
    pub(crate) title: Text,
    kind: ToolKind,
    status: ToolStatus,
    input: serde_json::Value,
    output: Option<String>,
    diffs: Vec<FileDiff>,
    pub(crate) permission: Option<Permission>,
    began: Time,
    ended: Option<Time>,
}

/// A question whether the agent may, and the answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Permission {
    pub(crate) title: Text,
    pub(crate) decision: PermissionDecision,
    pub(crate) reason: Text,
}

impl Permission {
    /// The answer in a word.
    pub(crate) fn word(&self) -> &'static str {
        match self.decision {
            PermissionDecision::Allowed => "allowed",
            PermissionDecision::Denied => "denied",
            PermissionDecision::Cancelled => "not answered: cancelled",
        }
    }

    /// The name of its shape.
    pub(crate) fn shape(&self) -> &'static str {
        match self.decision {
            PermissionDecision::Allowed => "check",
            PermissionDecision::Denied => "s-blocked",
            PermissionDecision::Cancelled => "s-cancelled",
        }
    }

    /// True if the answer was no.
    pub(crate) fn is_denied(&self) -> bool {
        self.decision == PermissionDecision::Denied
    }
}

/// A line of a plan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlanLine {
    pub(crate) text: Text,
    pub(crate) state: State,
}

impl Tool {
    /// Its icon.
    pub(crate) fn icon(&self) -> &'static str {
        match self.kind {
            ToolKind::Read => "tool-read",
            ToolKind::Edit | ToolKind::Move => "tool-edit",
            ToolKind::Delete => "tool-delete",
            ToolKind::Search => "search",
            ToolKind::Execute => "tool-run",
            ToolKind::Think => "tool-think",
            ToolKind::Fetch => "tool-fetch",
            ToolKind::Other => "tool-other",
        }
    }

    /// What sort of tool it is, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self.kind {
            ToolKind::Read => "read",
            ToolKind::Edit => "edit",
            ToolKind::Delete => "delete",
            ToolKind::Move => "move",
            ToolKind::Search => "search",
            ToolKind::Execute => "run",
            ToolKind::Think => "think",
            ToolKind::Fetch => "fetch",
            ToolKind::Other => "tool",
        }
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> State {
        match self.status {
            ToolStatus::Pending => State::Queued,
            ToolStatus::InProgress => State::Running,
            ToolStatus::Completed => State::Succeeded,
            ToolStatus::Failed => State::Failed,
        }
    }

    /// How long it took; empty while it runs.
    pub(crate) fn took(&self) -> String {
        self.ended.map_or_else(String::new, |ended| when::span(ended.since(self.began)))
    }

    /// True if there is something to unfold.
    pub(crate) fn has_more(&self) -> bool {
        !self.input_lines().is_empty() || self.output.is_some()
    }

    /// True if it is shown unfolded: what failed is what a person looks for.
    pub(crate) fn is_open(&self) -> bool {
        self.status == ToolStatus::Failed
    }

    /// Its input, a name and a value each. Contents that the diffs show are left out.
    pub(crate) fn input_lines(&self) -> Vec<(Text, Text)> {
        let shown = |value: &serde_json::Value| {
            let text = match value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let (text, left_out) = cut(&text, TOOL_MAX / 4);
            match left_out {
                0 => Text::from(text),
                n => Text::from(format!("{text} … {n} more bytes")),
            }
        };
        match &self.input {
            serde_json::Value::Null => Vec::new(),
            serde_json::Value::Object(fields) => fields
                .iter()
                .filter(|(name, _)| self.diffs.is_empty() || !is_content(name))
                .map(|(name, value)| (Text::from(name.as_str()), shown(value)))
                .collect(),
            other => vec![(Text::from("input"), shown(other))],
        }
    }

    /// What it printed.
    pub(crate) fn output(&self) -> Option<Html> {
        let output = self.output.as_deref()?.trim_end();
        let (output, left_out) = cut(output, TOOL_MAX);
        let mut html = Terminal::default().lines(output).to_string();
        if left_out > 0 {
            html.push_str(&format!("\n<span class=\"left-out\">… {left_out} more bytes</span>"));
        }
        Some(Html::finished(html))
    }

    /// The files that it changed, as the agent reported them.
    pub(crate) fn diffs(&self) -> Vec<FileView> {
        self.diffs
            .iter()
            .map(|change| {
                let file = diff::between(&change.path, change.old.as_deref(), &change.new);
                FileView::claimed(&file)
            })
            .collect()
    }
}

/// True for the names that agents give to the content of an edit.
fn is_content(name: &str) -> bool {
    matches!(
        name,
        "content" | "old_string" | "new_string" | "old_text" | "new_text" | "text" | "patch"
    )
}

impl Item {
    /// What the agent wrote, formatted.
    pub(crate) fn formatted(&self, markdown: &str) -> Html {
        markdown::render(markdown)
    }

    /// What the platform asked, exactly as it asked it.
    pub(crate) fn plain(&self, text: &str) -> Text {
        Text::from(text)
    }

    /// What a command printed, with its colours.
    pub(crate) fn terminal(&self, output: &str) -> Html {
        Terminal::default().lines(cut(output.trim_end(), TOOL_MAX).0)
    }

    /// The verdict of a verify command.
    pub(crate) fn verify_state(&self, exit_code: &Option<i32>) -> State {
        if self.is_good(exit_code) { State::Succeeded } else { State::Failed }
    }

    /// True if a command ended well.
    pub(crate) fn is_good(&self, exit_code: &Option<i32>) -> bool {
        *exit_code == Some(0)
    }
}

impl Session {
    /// A session without entries yet, of this agent.
    pub(crate) fn new(agent: &str, now: Time) -> Self {
        Self {
            agent: Text::from(agent),
            is_scripted: false,
            last: 0,
            usage: None,
            now,
            items: Vec::new(),
            touched: BTreeSet::new(),
        }
    }

    /// A session of these entries.
    #[cfg(test)]
    pub(crate) fn of(agent: &str, entries: Vec<Entry>, now: Time) -> Self {
        let mut session = Self::new(agent, now);
        for entry in entries {
            session.push(entry);
        }
        session.touched.clear();
        session
    }

    /// All items.
    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    /// The items that changed since the last call, in their order.
    pub(crate) fn take_touched(&mut self) -> Vec<Item> {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().filter_map(|i| self.items.get(i).cloned()).collect()
    }

    /// Folds one more entry.
    pub(crate) fn push(&mut self, entry: Entry) {
        let (seq, at) = (entry.seq, entry.at);
        self.last = seq;
        match entry.event {
            Event::Started { agent, version, mode, model, scripted } => {
                self.agent = Text::from(agent);
                self.is_scripted |= scripted;
                let text = |text: Option<String>| text.map(Text::from);
                let (version, mode, model) = (text(version), text(mode), text(model));
                self.add(seq, at, Body::Started { version, mode, model, is_scripted: scripted });
            }
            Event::Prompt { text, turn } => self.add(seq, at, Body::Prompt { turn, text }),
            Event::Message { text } => self.join(seq, at, text, false),
            Event::Thought { text } => self.join(seq, at, text, true),
            Event::ToolCall { id, title, kind, input } => {
                let tool = Tool {
                    key: id,
                    title: Text::from(title),
                    kind,
                    status: ToolStatus::Pending,
                    input,
                    output: None,
                    diffs: Vec::new(),
                    permission: None,
                    began: Time::from_micros(at),
                    ended: None,
                };
                self.add(seq, at, Body::Tool(Box::new(tool)));
            }
            Event::ToolUpdate { id, status, output, diffs } => {
                self.update(&id, |tool| {
                    tool.status = status;
                    tool.output = output.or(tool.output.take());
                    if !diffs.is_empty() {
                        tool.diffs = diffs;
                    }
                    if matches!(status, ToolStatus::Completed | ToolStatus::Failed) {
                        tool.ended = Some(Time::from_micros(at));
                    }
                });
            }
            Event::Permission { tool_call, title, decision, reason } => {
                let permission =
                    Permission { title: Text::from(title), decision, reason: Text::from(reason) };
                let given = permission.clone();
                if !self.update(&tool_call, |tool| tool.permission = Some(given)) {
                    self.add(seq, at, Body::Permission(permission));
                }
            }
            Event::Plan { entries } => self.plan(seq, at, entries),
            Event::Usage { input_tokens, output_tokens, cached_tokens, calls } => {
                self.usage = Some(Usage {
                    input: input_tokens,
                    output: output_tokens,
                    cached: cached_tokens,
                    calls,
                });
            }
            Event::Verify { command, exit_code, output } => {
                self.add(seq, at, Body::Verify { command: Text::from(command), exit_code, output });
            }
            Event::GaveUp(report) => {
                let tried = report.tried.into_iter().map(Text::from).collect();
                let because = Text::from(report.stopped_because);
                let unblock = Text::from(report.would_unblock);
                self.add(seq, at, Body::GaveUp { tried, because, unblock });
            }
            Event::TurnEnded { stop_reason } => {
                self.add(seq, at, Body::TurnEnded(Text::from(stop_reason)));
            }
            Event::Problem { text } => self.add(seq, at, Body::Problem(Text::from(text))),
        }
    }

    fn add(&mut self, id: u64, at: i64, body: Body) {
        self.touched.insert(self.items.len());
        let at = Moment::new(at, self.now);
        self.items.push(Item { id, agent: self.agent.clone(), at, body });
    }

    /// Joins a piece to the message or thought before it, if that is the last item.
    fn join(&mut self, id: u64, at: i64, piece: String, is_thought: bool) {
        let index = self.items.len().wrapping_sub(1);
        let before = self.items.last_mut().and_then(|item| match &mut item.body {
            Body::Said(text) if !is_thought => Some(text),
            Body::Thought(text) if is_thought => Some(text),
            Body::Started { .. }
            | Body::Prompt { .. }
            | Body::Said(_)
            | Body::Thought(_)
            | Body::Tool(_)
            | Body::Permission(_)
            | Body::Plan(_)
            | Body::Verify { .. }
            | Body::GaveUp { .. }
            | Body::TurnEnded(_)
            | Body::Problem(_) => None,
        });
        match before {
            Some(text) => {
                if text.len() < MESSAGE_MAX {
                    text.push_str(&piece);
                }
                self.touched.insert(index);
            }
            None if is_thought => self.add(id, at, Body::Thought(piece)),
            None => self.add(id, at, Body::Said(piece)),
        }
    }

    /// Changes the newest tool call with this key. False if there is none.
    fn update(&mut self, key: &str, change: impl FnOnce(&mut Tool)) -> bool {
        let found = self.items.iter_mut().enumerate().rev().find_map(|(i, item)| {
            let Body::Tool(tool) = &mut item.body else { return None };
            (tool.key == key).then_some((i, tool))
        });
        let Some((index, tool)) = found else { return false };
        change(tool);
        self.touched.insert(index);
        true
    }

    /// A plan replaces the one before it if nothing but tool calls came between; else it is shown
    /// anew, so that a reader sees where it changed.
    fn plan(&mut self, id: u64, at: i64, entries: Vec<windlass_wire::session::PlanEntry>) {
        let lines: Vec<_> = entries
            .into_iter()
            .map(|entry| PlanLine {
                text: Text::from(entry.text),
                state: State::parse(&entry.status),
            })
            .collect();
        let index = self.items.len().wrapping_sub(1);
        if let Some(Item { body: Body::Plan(before), .. }) = self.items.last_mut() {
            *before = lines;
            self.touched.insert(index);
            return;
        }
        self.add(id, at, Body::Plan(lines));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(events: Vec<Event>) -> Vec<Entry> {
        events
            .into_iter()
            .zip(1..)
            .map(|(event, seq)| Entry { seq, at: 1_000_000, event })
            .collect()
    }

    fn message(text: &str) -> Event {
        Event::Message { text: text.to_owned() }
    }

    fn call(id: &str) -> Event {
        Event::ToolCall {
            id: id.to_owned(),
            title: "cargo test".to_owned(),
            kind: ToolKind::Execute,
            input: serde_json::json!({ "command": "cargo test" }),
        }
    }

    fn done(id: &str) -> Event {
        Event::ToolUpdate {
            id: id.to_owned(),
            status: ToolStatus::Completed,
            output: Some("\u{1b}[32mok\u{1b}[0m".to_owned()),
            diffs: Vec::new(),
        }
    }

    #[test]
    fn pieces_of_a_message_are_one_item_and_a_call_with_its_update_is_another() {
        let usage =
            Event::Usage { input_tokens: 1_200, output_tokens: 30, cached_tokens: 0, calls: 2 };
        let events = vec![
            message("I will "),
            usage,
            message("look."),
            call("c1"),
            done("c1"),
            message("Done."),
        ];
        let session = Session::of("builtin", entries(events), Time::from_micros(0));
        let bodies: Vec<_> = session.items().iter().map(|item| (item.id, &item.body)).collect();
        assert_eq!(bodies[0], (1, &Body::Said("I will look.".to_owned())));
        assert!(matches!(bodies[1], (4, Body::Tool(tool)) if tool.state() == State::Succeeded));
        assert_eq!(bodies[2], (6, &Body::Said("Done.".to_owned())));
        assert_eq!(
            session.usage.map(|usage| usage.line()).as_deref(),
            Some("1,200 tokens in, 30 out, 0 from cache, 2 calls")
        );
    }

    #[test]
    fn a_live_session_shows_again_only_what_an_entry_touched() {
        let mut session =
            Session::of("builtin", entries(vec![message("a"), call("c")]), Time::from_micros(0));
        assert_eq!(session.take_touched(), []);
        session.push(Entry { seq: 3, at: 2_000_000, event: done("c") });
        let touched: Vec<_> = session.take_touched().iter().map(|item| item.id).collect();
        assert_eq!((touched, session.last), (vec![2], 3));
    }

    #[test]
    fn what_an_agent_says_can_not_leave_its_block() {
        let hostile = "</blockquote><script>alert(1)</script> <b onload=x>";
        let events = vec![
            message(hostile),
            Event::Prompt { text: hostile.to_owned(), turn: 1 },
            Event::ToolCall {
                id: "x".into(),
                title: hostile.into(),
                kind: ToolKind::Other,
                input: serde_json::json!({ hostile: hostile }),
            },
            Event::Problem { text: hostile.to_owned() },
            Event::Verify { command: hostile.into(), exit_code: None, output: hostile.into() },
        ];
        let session = Session::of(hostile, entries(events), Time::from_micros(0));
        for item in session.items() {
            let html = item.render().expect("an item renders");
            assert!(!html.contains("<script") && !html.contains("<b "), "{html}");
        }
    }
}
