//! OpenAI's Chat Completions API, as OpenAI and as the many servers that copy it speak it, without
//! streaming.

use serde_json::{Value, json};

use super::Offer;
use crate::builtin::Options;
use crate::builtin::conversation::{Answer, Call, Conversation, Said, Usage};

pub(super) fn request(
    options: &Options,
    system: &str,
    conversation: &Conversation,
    offers: &[Offer],
) -> Value {
    let tools: Vec<Value> = offers
        .iter()
        .map(|offer| {
            json!({"type": "function", "function":
                {"name": offer.name, "description": offer.description, "parameters": offer.schema}})
        })
        .collect();
    let mut messages = vec![json!({"role": "system", "content": system})];
    for said in conversation.said() {
        match said {
            Said::Prompt(text) => messages.push(json!({"role": "user", "content": text})),
            Said::Answer(answer) => messages.push(assistant(answer)),
            Said::Results(results) => messages.extend(results.iter().map(
                |result| json!({"role": "tool", "tool_call_id": result.id, "content": result.text}),
            )),
        }
    }
    // No limit on the answer: its name differs between servers, and each has a sensible one.
    json!({"model": options.model, "messages": messages, "tools": tools})
}

fn assistant(answer: &Answer) -> Value {
    let calls: Vec<Value> = answer
        .calls
        .iter()
        .map(|call| {
            let input = call.input.clone().unwrap_or_default();
            let arguments = Value::Object(input).to_string();
            json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
        })
        .collect();
    let mut message = json!({"role": "assistant", "content": answer.text});
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    message
}

pub(super) fn answer(body: &Value) -> Result<Answer, String> {
    let choice = body["choices"].get(0).ok_or("the model's answer has no choice")?;
    let message = &choice["message"];
    let mut answer = Answer {
        text: message["content"].as_str().unwrap_or_default().to_owned(),
        cut_off: choice["finish_reason"] == "length",
        refused: choice["finish_reason"] == "content_filter",
        ..Answer::default()
    };
    for (n, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
        let function = &call["function"];
        // Some servers send an object where the API says text, and some send no id.
        let input = match &function["arguments"] {
            Value::Object(input) => Ok(input.clone()),
            Value::String(text) if text.trim().is_empty() => Ok(serde_json::Map::new()),
            Value::String(text) => serde_json::from_str(text)
                .map_err(|error| format!("the arguments are no JSON object: {error}")),
            _ => Err("the arguments are missing".to_owned()),
        };
        let id = call["id"].as_str().filter(|id| !id.is_empty());
        answer.calls.push(Call {
            id: id.map_or_else(|| format!("call-{n}"), str::to_owned),
            name: function["name"].as_str().unwrap_or_default().to_owned(),
            input,
        });
    }
    let usage = &body["usage"];
    answer.usage = Usage {
        sent: usage["prompt_tokens"].as_u64().unwrap_or(0),
        received: usage["completion_tokens"].as_u64().unwrap_or(0),
    };
    Ok(answer)
}
