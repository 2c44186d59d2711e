//! An answer written in the format that the client speaks, streamed or whole. The field names and
//! the order of events are those of the providers' published APIs; the tests have the providers' own
//! client libraries read them.

mod anthropic;
mod chat;
mod gemini;
mod responses;

use serde_json::{Value, json};

use super::{
    file::{Failure, Reply},
    prompt::Prompt,
};
use crate::model::{Api, Wire};

/// An answer ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The HTTP status.
    pub status: u16,
    /// True for server-sent events, false for one JSON value.
    pub is_event_stream: bool,
    /// The body: one piece per event, or one in all.
    pub pieces: Vec<String>,
    /// The `Retry-After` header, in seconds.
    pub retry_after: Option<u32>,
}

/// What all formats need to know of the answer.
struct Answer<'a> {
    reply: &'a Reply,
    prompt: &'a Prompt,
    /// Makes ids unique within a conversation.
    number: u64,
}

impl Answer<'_> {
    fn tool_id(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}windlass{:06}{index:02}", self.number)
    }

    fn is_free_form(&self, name: &str) -> bool {
        self.prompt.tools.iter().any(|tool| tool.name == name && tool.free_form)
    }
}

/// Writes an answer. `whole_array` asks for Gemini's stream as one JSON array, as its clients get it
/// without `alt=sse`; `number` makes ids unique within the conversation.
pub fn render(
    wire: Wire,
    stream: bool,
    whole_array: bool,
    prompt: &Prompt,
    reply: &Reply,
    number: u64,
) -> Rendered {
    if let Some(error) = &reply.error {
        return failed(wire.api(), error);
    }
    let answer = Answer { reply, prompt, number };
    let is_event_stream = stream && !whole_array;
    let pieces = match (wire, stream) {
        (Wire::AnthropicMessages, true) => anthropic::events(&answer),
        (Wire::AnthropicMessages, false) => vec![anthropic::whole(&answer).to_string()],
        (Wire::OpenaiChat, true) => chat::events(&answer),
        (Wire::OpenaiChat, false) => vec![chat::whole(&answer).to_string()],
        (Wire::OpenaiResponses, true) => responses::events(&answer),
        (Wire::OpenaiResponses, false) => vec![responses::whole(&answer).to_string()],
        (Wire::GeminiContent, true) if whole_array => {
            vec![Value::from(gemini::chunks(&answer)).to_string()]
        }
        (Wire::GeminiContent, true) => gemini::chunks(&answer).iter().map(data_event).collect(),
        (Wire::GeminiContent, false) => vec![gemini::whole(&answer).to_string()],
    };
    Rendered { status: 200, is_event_stream, pieces, retry_after: None }
}

fn failed(api: Api, error: &Failure) -> Rendered {
    let message = &error.message;
    let kind = match (api, error.status) {
        (Api::Anthropic, 401) => "authentication_error",
        (Api::Anthropic, 403) => "permission_error",
        (Api::Anthropic, 404) => "not_found_error",
        (Api::Anthropic, 429) => "rate_limit_error",
        (Api::Anthropic, 529) => "overloaded_error",
        (Api::Anthropic, 500..) => "api_error",
        (Api::Openai, 401) => "authentication_error",
        (Api::Openai, 429) => "rate_limit_exceeded",
        (Api::Openai, 500..) => "server_error",
        (Api::Anthropic | Api::Openai, _) => "invalid_request_error",
        (Api::Gemini, 401) => "UNAUTHENTICATED",
        (Api::Gemini, 403) => "PERMISSION_DENIED",
        (Api::Gemini, 404) => "NOT_FOUND",
        (Api::Gemini, 429) => "RESOURCE_EXHAUSTED",
        (Api::Gemini, 500..) => "UNAVAILABLE",
        (Api::Gemini, _) => "INVALID_ARGUMENT",
    };
    let body = match api {
        Api::Anthropic => json!({ "type": "error", "error": { "type": kind, "message": message } }),
        Api::Openai => {
            json!({ "error": { "message": message, "type": kind, "param": null, "code": null } })
        }
        Api::Gemini => {
            json!({ "error": { "code": error.status, "message": message, "status": kind } })
        }
    };
    Rendered {
        status: error.status,
        is_event_stream: false,
        pieces: vec![body.to_string()],
        retry_after: error.retry_after,
    }
}

fn data_event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn named_event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or("message"))
}

/// A text in pieces of a few words, as models stream it.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let cut = rest
            .char_indices()
            .filter(|(at, character)| *at >= 24 && character.is_whitespace())
            .map(|(at, character)| at + character.len_utf8())
            .next()
            .unwrap_or(rest.len());
        let (piece, others) = rest.split_at(cut);
        pieces.push(piece);
        rest = others;
    }
    pieces
}
