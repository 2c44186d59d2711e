//! The session: the append-only history of one agent step. Every harness (the built-in one, an ACP
//! agent, a replay) speaks through these events and nothing else, so that pages, replays and
//! evidence never need to know which agent it was.
//!
//! All text in an event is *untrusted*: it is what a model or a tool said. Whoever shows it escapes
//! it (HTML, ANSI, bidirectional controls).

use serde::{Deserialize, Serialize};

/// One event at its place in a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Position in the session, from 1, without gaps. What `Last-Event-ID` carries.
    pub seq: u64,
    /// When the runner saw it, in microseconds since the Unix epoch.
    pub at: i64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened in a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The agent answered the handshake and has a session.
    Started {
        /// The agent's name in the table of known agents, or the command the user named.
        agent: String,
        /// The version that the agent reported, where it did.
        version: Option<String>,
        /// The mode that was set, in the agent's own words.
        mode: Option<String>,
        /// The model asked for, where one was.
        model: Option<String>,
        /// True if the model's answers come from a file that we wrote and no model is called.
        scripted: bool,
    },
    /// What the platform asked of the agent: the task at first, later feedback.
    Prompt {
        /// The whole text.
        text: String,
        /// 1 for the first turn of this step.
        turn: u32,
    },
    /// A piece of what the agent said. Consecutive pieces belong together.
    Message {
        /// Markdown, as the agent wrote it.
        text: String,
    },
    /// A piece of the agent's reasoning, where it shows it.
    Thought {
        /// Markdown, as the agent wrote it.
        text: String,
    },
    /// The agent began a tool call. A second event with the same id replaces the title, kind and
    /// input of the first: some agents name a call before they know its input.
    ToolCall {
        /// The agent's id of the call, unique within the session.
        id: String,
        /// One line for a person.
        title: String,
        /// What sort of tool it is.
        kind: ToolKind,
        /// The tool's input as the agent reported it.
        input: serde_json::Value,
    },
    /// A tool call went on or ended.
    ToolUpdate {
        /// The call's id.
        id: String,
        /// Where it stands.
        status: ToolStatus,
        /// What it printed, where it did.
        output: Option<String>,
        /// The files it changed, where the agent reported them.
        diffs: Vec<FileDiff>,
    },
    /// The agent asked whether it may do something, and what it was told.
    Permission {
        /// The tool call it is about.
        tool_call: String,
        /// What was asked, one line.
        title: String,
        /// The answer.
        decision: PermissionDecision,
        /// Why: the rule or the person behind the answer.
        reason: String,
    },
    /// The agent's plan, each time it changes, whole.
    Plan {
        /// Its entries in the agent's order.
        entries: Vec<PlanEntry>,
    },
    /// Tokens and money used by this step so far, as the *model door* metered them.
    Usage {
        /// Tokens sent, without those read from a cache.
        input_tokens: u64,
        /// Tokens received.
        output_tokens: u64,
        /// Tokens read from the provider's cache.
        cached_tokens: u64,
        /// Calls made.
        calls: u64,
    },
    /// The platform ran a `verify:` command after the agent said it was done.
    Verify {
        /// The command.
        command: String,
        /// Its exit code; absent if a signal or the time limit ended it.
        exit_code: Option<i32>,
        /// The end of what it printed.
        output: String,
    },
    /// The agent stopped without a result and said why, in the form it was asked to use.
    GaveUp(GiveUp),
    /// The agent ended its turn.
    TurnEnded {
        /// Why, in ACP's words: `end_turn`, `max_tokens`, `max_turn_requests`, `refusal`, `cancelled`.
        stop_reason: String,
    },
    /// Something went wrong that a person should read. The step's end has its own reason.
    Problem {
        /// One or more sentences.
        text: String,
    },
}

/// What sort of tool a call uses (ACP's kinds).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    /// Reads files or data.
    Read,
    /// Changes files.
    Edit,
    /// Removes files or data.
    Delete,
    /// Moves or renames files.
    Move,
    /// Searches.
    Search,
    /// Runs a command.
    Execute,
    /// Thinks or plans.
    Think,
    /// Fetches from outside.
    Fetch,
    /// Anything else.
    Other,
}

/// Where a tool call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    /// Not begun, or waiting for permission.
    Pending,
    /// Running.
    InProgress,
    /// Ended well.
    Completed,
    /// Ended badly, or was denied.
    Failed,
}

/// A file's text before and after a tool call, as the agent reported it. A claim, not evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDiff {
    /// The path as the agent gave it.
    pub path: String,
    /// The text before; absent for a new file.
    pub old: Option<String>,
    /// The text after.
    pub new: String,
}

/// An answer to a request for permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermissionDecision {
    /// It may.
    Allowed,
    /// It may not.
    Denied,
    /// The turn was cancelled before an answer.
    Cancelled,
}

/// One entry of an agent's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEntry {
    /// What it means to do.
    pub text: String,
    /// `pending`, `in_progress` or `completed`.
    pub status: String,
}

/// What an agent says when it ends without a result. Its own words: a claim, not evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveUp {
    /// What was tried, one entry each, in order.
    #[serde(default)]
    pub tried: Vec<String>,
    /// Why it stopped.
    pub stopped_because: String,
    /// What would let the next attempt go on; empty if it did not say.
    #[serde(default)]
    pub would_unblock: String,
}
