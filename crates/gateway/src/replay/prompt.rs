//! What a request asks of a model, read from any of the four formats into one form. Only as much as
//! expectations need; an unknown part is skipped, never an error.

use serde_json::Value;

use crate::model::Wire;

/// A request to a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// The model asked for.
    pub model: String,
    /// The system prompt.
    pub system: String,
    /// The tools offered.
    pub tools: Vec<Offer>,
    /// How often the model has answered in this conversation.
    pub answers: usize,
    /// What came after the model's last words: a task, or the results of tools.
    pub last: String,
    /// Everything that was said, by either side.
    pub all: String,
    /// True if a chat request wants a chunk with its usage at the end of the stream.
    pub stream_usage: bool,
}

/// A tool that a client offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub name: String,
    /// True for a tool of the Responses API whose input is free text.
    pub free_form: bool,
}

impl Prompt {
    /// Reads a request's body.
    pub fn read(wire: Wire, body: &Value) -> Self {
        let mut prompt = Self {
            model: text(&body["model"]).to_owned(),
            stream_usage: body["stream_options"]["include_usage"].as_bool().unwrap_or(false),
            ..Self::default()
        };
        match wire {
            Wire::AnthropicMessages => prompt.read_anthropic(body),
            Wire::OpenaiChat => prompt.read_chat(body),
            Wire::OpenaiResponses => prompt.read_responses(body),
            Wire::GeminiContent => prompt.read_gemini(body),
        }
        prompt
    }

    /// True if a tool of this name is offered.
    pub fn offers(&self, name: &str) -> bool {
        self.tools.iter().any(|tool| tool.name == name)
    }

    fn read_anthropic(&mut self, body: &Value) {
        self.system = texts(&body["system"]);
        self.offer(list(&body["tools"]).iter());
        for message in list(&body["messages"]) {
            self.say(message["role"] == "assistant", &texts(&message["content"]));
        }
    }

    fn read_chat(&mut self, body: &Value) {
        self.offer(list(&body["tools"]).iter().map(|tool| &tool["function"]));
        for message in list(&body["messages"]) {
            let mut said = texts(&message["content"]);
            match text(&message["role"]) {
                "system" | "developer" => push(&mut self.system, &said),
                "assistant" => {
                    for call in list(&message["tool_calls"]) {
                        push(&mut said, text(&call["function"]["arguments"]));
                    }
                    self.say(true, &said);
                }
                _ => self.say(false, &said),
            }
        }
    }

    fn read_responses(&mut self, body: &Value) {
        self.system = texts(&body["instructions"]);
        for tool in list(&body["tools"]) {
            self.tools.push(Offer {
                name: text(&tool["name"]).to_owned(),
                free_form: tool["type"] == "custom",
            });
        }
        if let Some(input) = body["input"].as_str() {
            self.say(false, input);
        }
        let mut model_speaks = false;
        for item in list(&body["input"]) {
            let (is_model, said) = match text(&item["type"]) {
                "function_call" => (true, texts(&item["arguments"])),
                "custom_tool_call" => (true, texts(&item["input"])),
                "reasoning" => (true, String::new()),
                "function_call_output" | "custom_tool_call_output" => {
                    (false, texts(&item["output"]))
                }
                _ if matches!(text(&item["role"]), "system" | "developer") => {
                    push(&mut self.system, &texts(&item["content"]));
                    continue;
                }
                _ => (item["role"] == "assistant", texts(&item["content"])),
            };
            // Several items of the model in a row are one answer.
            if is_model && model_speaks {
                push(&mut self.all, &said);
            } else {
                self.say(is_model, &said);
            }
            model_speaks = is_model;
        }
    }

    fn read_gemini(&mut self, body: &Value) {
        let system = if body["systemInstruction"].is_null() {
            &body["system_instruction"]
        } else {
            &body["systemInstruction"]
        };
        self.system = texts(&system["parts"]);
        for tool in list(&body["tools"]) {
            self.offer(list(&tool["functionDeclarations"]).iter());
        }
        for content in list(&body["contents"]) {
            let mut said = texts(&content["parts"]);
            for part in list(&content["parts"]) {
                for name in ["functionResponse", "functionCall"] {
                    if let Some(object) = part[name].as_object() {
                        object.values().for_each(|value| leaves(value, &mut said));
                    }
                }
            }
            self.say(content["role"] == "model", &said);
        }
    }

    fn offer<'a>(&mut self, tools: impl Iterator<Item = &'a Value>) {
        self.tools.extend(
            tools.map(|tool| Offer { name: text(&tool["name"]).to_owned(), free_form: false }),
        );
    }

    fn say(&mut self, is_model: bool, said: &str) {
        push(&mut self.all, said);
        if is_model {
            self.answers += 1;
            self.last.clear();
        } else {
            push(&mut self.last, said);
        }
    }
}

fn push(text: &mut String, more: &str) {
    if !more.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(more);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The text of a content that is a text or a list of parts with texts, contents or inputs in them.
fn texts(value: &Value) -> String {
    let mut output = String::new();
    match value {
        Value::String(text) => output.push_str(text),
        Value::Array(parts) => {
            for part in parts {
                push(&mut output, text(&part["text"]));
                push(&mut output, &texts(&part["content"]));
                if part["type"] == "tool_use" {
                    leaves(&part["input"], &mut output);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
    }
    output
}

/// All texts inside a value.
fn leaves(value: &Value, output: &mut String) {
    match value {
        Value::String(text) => push(output, text),
        Value::Array(values) => values.iter().for_each(|value| leaves(value, output)),
        Value::Object(fields) => fields.values().for_each(|value| leaves(value, output)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
