//! Reads the tokens used out of an answer as it passes, in any of the four formats, streamed or not.
//! Only reads: the bytes that pass are not changed here.

use std::ops::Add;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    route::Wire,
    sse::{Event, Events},
};

/// The longest answer in one piece that is kept in memory to be read; a longer one is estimated.
const MAX_WHOLE: usize = 32 * 1024 * 1024;

/// Tokens. The three do not overlap: their sum is what was billed in some way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// Sent, without those read from the provider's cache.
    pub input: u64,
    /// Received, with the model's hidden reasoning.
    pub output: u64,
    /// Sent and read from the provider's cache.
    pub cached: u64,
}

impl Usage {
    /// All tokens together.
    pub fn total(self) -> u64 {
        self.input.saturating_add(self.output).saturating_add(self.cached)
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cached: self.cached.saturating_add(other.cached),
        }
    }
}

/// What an answer turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tallied {
    /// What the provider reported so far; absent parts are absent.
    pub(super) prompt: Option<Prompt>,
    /// Output tokens reported so far.
    pub(super) output: Option<u64>,
    /// True if the report covers the whole call.
    pub(super) exact: bool,
    /// True if the answer came to its own end.
    pub(super) complete: bool,
    /// An error that the provider sent inside the answer.
    pub(super) problem: Option<String>,
    /// Bytes that passed.
    pub(super) bytes: u64,
}

/// The prompt's part of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) input: u64,
    pub(super) cached: u64,
}

impl Tallied {
    /// What to settle: the report, or where it is missing a careful estimate.
    pub(super) fn usage(&self, input_estimate: u64, output_limit: u64) -> Usage {
        let prompt = self.prompt.unwrap_or(Prompt { input: input_estimate, cached: 0 });
        let reported = self.output.unwrap_or(0);
        let output =
            if self.exact { reported } else { reported.max((self.bytes / 4).min(output_limit)) };
        Usage { input: prompt.input, output, cached: prompt.cached }
    }
}

/// Reads one answer.
#[derive(Debug)]
pub(super) struct Tally {
    wire: Wire,
    form: Form,
    tallied: Tallied,
}

#[derive(Debug)]
enum Form {
    Whole(Vec<u8>),
    Stream(Events),
}

impl Tally {
    pub(super) fn new(wire: Wire, is_event_stream: bool) -> Self {
        let form =
            if is_event_stream { Form::Stream(Events::default()) } else { Form::Whole(Vec::new()) };
        Self { wire, form, tallied: Tallied::default() }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.tallied.bytes += bytes.len() as u64;
        match &mut self.form {
            Form::Whole(whole) => {
                if whole.len() + bytes.len() <= MAX_WHOLE {
                    whole.extend_from_slice(bytes);
                }
            }
            Form::Stream(events) => {
                for event in events.push(bytes) {
                    read_event(self.wire, &event, &mut self.tallied);
                }
            }
        }
    }

    /// What is known when no more bytes come; `ended` says that the transfer itself was in order.
    pub(super) fn finish(&mut self, ended: bool) -> Tallied {
        match &mut self.form {
            Form::Whole(whole) => {
                if let Ok(value) = serde_json::from_slice::<Value>(whole) {
                    read_whole(self.wire, &value, &mut self.tallied);
                    self.tallied.complete = ended;
                }
            }
            Form::Stream(events) => {
                // Some servers leave out the last empty line.
                let rest = Event { raw: events.rest() };
                read_event(self.wire, &rest, &mut self.tallied);
            }
        }
        let tallied = &mut self.tallied;
        tallied.exact = tallied.complete && tallied.prompt.is_some() && tallied.output.is_some();
        tallied.clone()
    }
}

fn read_event(wire: Wire, event: &Event, tallied: &mut Tallied) {
    let Some(data) = event.data() else { return };
    if data.trim() == "[DONE]" {
        tallied.complete = true;
        return;
    }
    let Ok(value) = serde_json::from_str::<Value>(&data) else { return };
    match wire {
        Wire::AnthropicMessages => match value["type"].as_str() {
            Some("message_start") => read_anthropic(&value["message"]["usage"], tallied),
            Some("message_delta") => read_anthropic(&value["usage"], tallied),
            Some("message_stop") => tallied.complete = true,
            Some("error") => note_problem(&value["error"], tallied),
            _ => {}
        },
        Wire::OpenaiResponses => match value["type"].as_str() {
            Some("response.completed" | "response.incomplete") => {
                read_responses(&value["response"]["usage"], tallied);
                tallied.complete = true;
            }
            Some("response.failed") => {
                read_responses(&value["response"]["usage"], tallied);
                note_problem(&value["response"]["error"], tallied);
                tallied.complete = true;
            }
            Some("error") => note_problem(&value, tallied),
            _ => {}
        },
        Wire::OpenaiChat => {
            read_chat(&value["usage"], tallied);
            let finished = |choice: &Value| choice["finish_reason"].is_string();
            tallied.complete |=
                value["choices"].as_array().is_some_and(|choices| choices.iter().any(finished));
            note_problem(&value["error"], tallied);
        }
        Wire::GeminiContent => read_gemini(&value, tallied),
    }
}

fn read_whole(wire: Wire, value: &Value, tallied: &mut Tallied) {
    match wire {
        Wire::AnthropicMessages => read_anthropic(&value["usage"], tallied),
        Wire::OpenaiResponses => read_responses(&value["usage"], tallied),
        Wire::OpenaiChat => read_chat(&value["usage"], tallied),
        // A stream that was not asked for as events comes as one array.
        Wire::GeminiContent => match value.as_array() {
            Some(chunks) => chunks.iter().for_each(|chunk| read_gemini(chunk, tallied)),
            None => read_gemini(value, tallied),
        },
    }
}

/// Anthropic reports cached tokens apart from `input_tokens`, and running totals in a stream.
fn read_anthropic(usage: &Value, tallied: &mut Tallied) {
    let input = usage["input_tokens"].as_u64();
    let created = usage["cache_creation_input_tokens"].as_u64();
    let read = usage["cache_read_input_tokens"].as_u64();
    if let Some(input) = input {
        let prompt = Prompt { input: input + created.unwrap_or(0), cached: read.unwrap_or(0) };
        tallied.prompt = Some(prompt);
    }
    tallied.output = usage["output_tokens"].as_u64().or(tallied.output);
}

/// OpenAI reports cached tokens as a part of `input_tokens`.
fn read_responses(usage: &Value, tallied: &mut Tallied) {
    let cached = usage["input_tokens_details"]["cached_tokens"].as_u64().unwrap_or(0);
    if let Some(input) = usage["input_tokens"].as_u64() {
        tallied.prompt = Some(Prompt { input: input.saturating_sub(cached), cached });
    }
    tallied.output = usage["output_tokens"].as_u64().or(tallied.output);
}

fn read_chat(usage: &Value, tallied: &mut Tallied) {
    let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or(0);
    if let Some(input) = usage["prompt_tokens"].as_u64() {
        tallied.prompt = Some(Prompt { input: input.saturating_sub(cached), cached });
    }
    tallied.output = usage["completion_tokens"].as_u64().or(tallied.output);
}

/// Google reports cached tokens as a part of the prompt, and reasoning apart from the answer. A
/// stream carries running totals; parts that are zero may be left out.
fn read_gemini(chunk: &Value, tallied: &mut Tallied) {
    let usage = &chunk["usageMetadata"];
    let count = |name: &str| usage[name].as_u64().unwrap_or(0);
    if usage.is_object() {
        let cached = count("cachedContentTokenCount");
        let input =
            (count("promptTokenCount") + count("toolUsePromptTokenCount")).saturating_sub(cached);
        tallied.prompt = Some(Prompt { input, cached });
        tallied.output = Some(count("candidatesTokenCount") + count("thoughtsTokenCount"));
    }
    let finished = |candidate: &Value| candidate["finishReason"].is_string();
    tallied.complete |= chunk["candidates"].as_array().is_some_and(|all| all.iter().any(finished));
    tallied.complete |= chunk["promptFeedback"]["blockReason"].is_string();
    note_problem(&chunk["error"], tallied);
}

fn note_problem(error: &Value, tallied: &mut Tallied) {
    if let Some(message) = error["message"].as_str() {
        tallied.problem = Some(message.chars().take(500).collect());
    }
}

/// The usage that a whole answer reports, streamed or not. `None` if it reports none.
pub(crate) fn usage_of(wire: Wire, answer: &[u8]) -> Option<Usage> {
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(answer).is_ok();
    let mut tally = Tally::new(wire, !is_json);
    tally.push(answer);
    let tallied = tally.finish(true);
    tallied.exact.then(|| tallied.usage(0, 0))
}
