//! Writes down what a live model answered, as a session file. An answer in any of the four formats is
//! read back into text and tool calls. The file holds what the model said, so it is as confidential
//! as the session itself; it holds no credential.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

use super::{
    file::{Expect, Reply, Session, ToolUse, Turn},
    prompt::Prompt,
};
use crate::model::{Events, Wire, usage_of};

/// Writes a session file while a door is used.
pub struct Recorder {
    output: Mutex<Output>,
}

struct Output {
    writer: Box<dyn Write + Send>,
    turns: usize,
    failed: Option<String>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Recorder")
    }
}

/// Why a recording is not whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session could not be written down: {0}")]
pub struct RecordError(String);

impl Recorder {
    /// Begins a session file.
    pub fn new(mut writer: Box<dyn Write + Send>, about: &str) -> io::Result<Self> {
        writeln!(writer, "{}", Session::header_line(about, false))?;
        writer.flush()?;
        Ok(Self { output: Mutex::new(Output { writer, turns: 0, failed: None }) })
    }

    /// Says how many turns were written, or why one was not.
    pub fn finish(&self) -> Result<usize, RecordError> {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        match &output.failed {
            None => Ok(output.turns),
            Some(problem) => Err(RecordError(problem.clone())),
        }
    }

    /// Writes one answer down, expecting the tools that were offered.
    pub(crate) fn record(&self, wire: Wire, request: &[u8], answer: &[u8]) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = output.turns + 1;
        let written = serde_json::from_slice(request)
            .map_err(|error| error.to_string())
            .and_then(|request| {
                let prompt = Prompt::read(wire, &request);
                let reply = read_answer(wire, answer).ok_or("an answer was not understood")?;
                // Only tools that are used need to be there when the session is played again.
                let tools = reply
                    .tools
                    .iter()
                    .map(|tool| tool.name.clone())
                    .filter(|name| prompt.offers(name));
                let expect = Expect { tools: tools.collect(), ..Expect::default() };
                let turn = Turn { name: format!("turn {turn}"), aside: false, expect, reply };
                serde_json::to_string(&turn).map_err(|error| error.to_string())
            })
            .and_then(|line| {
                writeln!(output.writer, "{line}")
                    .and_then(|()| output.writer.flush())
                    .map_err(|error| error.to_string())
            });
        match written {
            Ok(()) => output.turns = turn,
            Err(problem) => output.failed = Some(format!("turn {turn}: {problem}")),
        }
    }
}

/// Reads a whole answer, streamed or not, back into a reply. `None` if it is not one.
pub fn read_answer(wire: Wire, answer: &[u8]) -> Option<Reply> {
    let mut reply = match serde_json::from_slice::<Value>(answer) {
        Ok(Value::Array(chunks)) => gather(wire, &chunks),
        Ok(whole) => from_whole(wire, &whole),
        Err(_) => {
            let mut events = Events::default();
            let mut raw = events.push(answer);
            raw.extend(events.push(b"\n\n"));
            let data: Vec<Value> = raw
                .iter()
                .filter_map(|event| event.data())
                .filter_map(|data| serde_json::from_str(&data).ok())
                .collect();
            gather(wire, &data)
        }
    };
    reply.usage = usage_of(wire, answer)?;
    (!reply.text.is_empty() || !reply.tools.is_empty()).then_some(reply)
}

fn from_whole(wire: Wire, whole: &Value) -> Reply {
    let mut reply = Reply::default();
    match wire {
        Wire::AnthropicMessages => {
            for block in list(&whole["content"]) {
                match text(&block["type"]) {
                    "thinking" => reply.thinking.push_str(text(&block["thinking"])),
                    "text" => reply.text.push_str(text(&block["text"])),
                    "tool_use" => reply.tools.push(tool(&block["name"], block["input"].clone())),
                    _ => {}
                }
            }
            reply.truncated = whole["stop_reason"] == "max_tokens";
        }
        Wire::OpenaiChat => {
            let choice = &whole["choices"][0];
            reply.text.push_str(text(&choice["message"]["content"]));
            for call in list(&choice["message"]["tool_calls"]) {
                let function = &call["function"];
                reply.tools.push(tool(&function["name"], parsed(text(&function["arguments"]))));
            }
            reply.truncated = choice["finish_reason"] == "length";
        }
        Wire::OpenaiResponses => {
            for item in list(&whole["output"]) {
                match text(&item["type"]) {
                    "message" => list(&item["content"])
                        .iter()
                        .for_each(|part| reply.text.push_str(text(&part["text"]))),
                    "function_call" => {
                        reply.tools.push(tool(&item["name"], parsed(text(&item["arguments"]))))
                    }
                    "custom_tool_call" => {
                        reply.tools.push(tool(&item["name"], item["input"].clone()))
                    }
                    _ => {}
                }
            }
            reply.truncated = whole["status"] == "incomplete";
        }
        Wire::GeminiContent => add_gemini(whole, &mut reply),
    }
    reply
}

fn gather(wire: Wire, events: &[Value]) -> Reply {
    let mut reply = Reply::default();
    // The inputs of tools come in pieces of JSON text.
    let mut inputs: Vec<(Value, String)> = Vec::new();
    for event in events {
        match wire {
            Wire::AnthropicMessages => match text(&event["type"]) {
                "content_block_start" if event["content_block"]["type"] == "tool_use" => {
                    inputs.push((event["content_block"]["name"].clone(), String::new()));
                }
                "content_block_delta" => {
                    let delta = &event["delta"];
                    reply.thinking.push_str(text(&delta["thinking"]));
                    reply.text.push_str(text(&delta["text"]));
                    if let Some((_, input)) = inputs.last_mut() {
                        input.push_str(text(&delta["partial_json"]));
                    }
                }
                "message_delta" => reply.truncated = event["delta"]["stop_reason"] == "max_tokens",
                _ => {}
            },
            Wire::OpenaiChat => {
                let choice = &event["choices"][0];
                reply.text.push_str(text(&choice["delta"]["content"]));
                for call in list(&choice["delta"]["tool_calls"]) {
                    let index = call["index"]
                        .as_u64()
                        .and_then(|index| usize::try_from(index).ok())
                        .unwrap_or(0);
                    if index >= inputs.len() && index < 256 {
                        inputs.resize(index + 1, (Value::Null, String::new()));
                    }
                    if let Some((name, input)) = inputs.get_mut(index) {
                        if call["function"]["name"].is_string() {
                            *name = call["function"]["name"].clone();
                        }
                        input.push_str(text(&call["function"]["arguments"]));
                    }
                }
                reply.truncated |= choice["finish_reason"] == "length";
            }
            // The last event repeats the whole answer.
            Wire::OpenaiResponses => {
                if matches!(text(&event["type"]), "response.completed" | "response.incomplete") {
                    reply = from_whole(wire, &event["response"]);
                }
            }
            Wire::GeminiContent => add_gemini(event, &mut reply),
        }
    }
    reply.tools.extend(inputs.into_iter().map(|(name, input)| tool(&name, parsed(&input))));
    reply
}

fn add_gemini(chunk: &Value, reply: &mut Reply) {
    let candidate = &chunk["candidates"][0];
    for part in list(&candidate["content"]["parts"]) {
        if part["functionCall"].is_object() {
            let call = &part["functionCall"];
            reply.tools.push(tool(&call["name"], call["args"].clone()));
        } else if part["thought"] == true {
            reply.thinking.push_str(text(&part["text"]));
        } else {
            reply.text.push_str(text(&part["text"]));
        }
    }
    reply.truncated |= candidate["finishReason"] == "MAX_TOKENS";
}

fn tool(name: &Value, input: Value) -> ToolUse {
    let input = if input.is_object() || input.is_string() {
        input
    } else {
        Value::Object(Default::default())
    };
    ToolUse { name: text(name).to_owned(), input }
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or(Value::Null)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
