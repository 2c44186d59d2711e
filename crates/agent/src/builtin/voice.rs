//! What the built-in agent says to its client: session updates and requests for permission.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_client_protocol::Client;
use agent_client_protocol::v1::{ConnectionTo, schema as acp};
use serde_json::Value;

use super::tools::files::Changed;
use crate::clip;

/// The most bytes of one side of a diff.
const DIFF: usize = 256 * 1024;
/// The most bytes of a title.
const TITLE: usize = 300;

/// Speaks in one session.
pub(super) struct Voice {
    connection: ConnectionTo<Client>,
    session: acp::SessionId,
    calls: Arc<AtomicU64>,
}

/// The client is gone; the turn ends.
#[derive(Debug)]
pub(super) struct Gone;

impl Voice {
    /// `calls` counts the tool calls of the whole session, so that their ids are unique.
    pub(super) fn new(
        connection: ConnectionTo<Client>,
        session: acp::SessionId,
        calls: Arc<AtomicU64>,
    ) -> Self {
        Self { connection, session, calls }
    }

    pub(super) fn say(&self, text: &str) -> Result<(), Gone> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let content = acp::ContentBlock::Text(acp::TextContent::new(text));
        self.update(acp::SessionUpdate::AgentMessageChunk(acp::ContentChunk::new(content)))
    }

    /// Says how many tokens of the model's room are used.
    pub(super) fn used(&self, used: u64, size: u64) -> Result<(), Gone> {
        self.update(acp::SessionUpdate::UsageUpdate(acp::UsageUpdate::new(used, size)))
    }

    /// Announces a tool call and returns its id.
    pub(super) fn begin(
        &self,
        title: &str,
        kind: acp::ToolKind,
        input: &Value,
    ) -> Result<acp::ToolCallId, Gone> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let id = acp::ToolCallId::new(format!("tool-{number}"));
        let call = acp::ToolCall::new(id.clone(), one_line(title))
            .kind(kind)
            .status(acp::ToolCallStatus::InProgress)
            .raw_input(input.clone());
        self.update(acp::SessionUpdate::ToolCall(call))?;
        Ok(id)
    }

    /// Shows what a running call printed so far.
    pub(super) fn progress(&self, id: &acp::ToolCallId, output: String) -> Result<(), Gone> {
        let fields = acp::ToolCallUpdateFields::new()
            .status(acp::ToolCallStatus::InProgress)
            .content(vec![text(output)]);
        self.update(acp::SessionUpdate::ToolCallUpdate(acp::ToolCallUpdate::new(
            id.clone(),
            fields,
        )))
    }

    /// Ends a call.
    pub(super) fn end(
        &self,
        id: acp::ToolCallId,
        well: bool,
        output: &str,
        changed: Option<&Changed>,
    ) -> Result<(), Gone> {
        let status =
            if well { acp::ToolCallStatus::Completed } else { acp::ToolCallStatus::Failed };
        let content = match changed {
            Some(changed) => {
                let diff =
                    acp::Diff::new(changed.path.clone(), clip::head_and_tail(&changed.new, DIFF))
                        .old_text(changed.old.as_ref().map(|old| clip::head_and_tail(old, DIFF)));
                vec![acp::ToolCallContent::Diff(diff)]
            }
            None => vec![text(output.to_owned())],
        };
        let fields = acp::ToolCallUpdateFields::new().status(status).content(content);
        self.update(acp::SessionUpdate::ToolCallUpdate(acp::ToolCallUpdate::new(id, fields)))
    }

    /// Asks whether a call may be made; no answer is a no.
    pub(super) async fn ask(
        &self,
        id: &acp::ToolCallId,
        title: &str,
        kind: acp::ToolKind,
        input: &Value,
    ) -> bool {
        let fields = acp::ToolCallUpdateFields::new()
            .title(one_line(title))
            .kind(kind)
            .status(acp::ToolCallStatus::Pending)
            .raw_input(input.clone());
        let options = vec![
            acp::PermissionOption::new("allow", "Allow", acp::PermissionOptionKind::AllowOnce),
            acp::PermissionOption::new("reject", "Reject", acp::PermissionOptionKind::RejectOnce),
        ];
        let request = acp::RequestPermissionRequest::new(
            self.session.clone(),
            acp::ToolCallUpdate::new(id.clone(), fields),
            options,
        );
        match self.connection.send_request(request).block_task().await {
            Ok(answer) => match answer.outcome {
                acp::RequestPermissionOutcome::Selected(selected) => {
                    &*selected.option_id.0 == "allow"
                }
                _ => false,
            },
            Err(_) => false,
        }
    }

    fn update(&self, update: acp::SessionUpdate) -> Result<(), Gone> {
        let notification = acp::SessionNotification::new(self.session.clone(), update);
        self.connection.send_notification(notification).map_err(|_| Gone)
    }
}

fn text(output: String) -> acp::ToolCallContent {
    acp::ContentBlock::Text(acp::TextContent::new(output)).into()
}

fn one_line(title: &str) -> String {
    clip::printable(title.as_bytes(), TITLE)
}
