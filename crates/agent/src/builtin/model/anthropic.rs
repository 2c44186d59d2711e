//! Anthropic's Messages API, without streaming.

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
        .map(|offer| json!({"name": offer.name, "description": offer.description, "input_schema": offer.schema}))
        .collect();
    let mut messages: Vec<Value> = Vec::new();
    for said in conversation.said() {
        let (role, blocks) = blocks(said);
        // Two messages of one side in a row become one.
        match messages.last_mut() {
            Some(last) if last["role"] == role => {
                if let Some(content) = last["content"].as_array_mut() {
                    content.extend(blocks);
                }
            }
            _ => messages.push(json!({"role": role, "content": blocks})),
        }
    }
    // Everything up to here is read from the provider's cache by the next call.
    if let Some(last) = messages.last_mut().and_then(|message| message["content"].as_array_mut())
        && let Some(block) = last.last_mut()
    {
        block["cache_control"] = json!({"type": "ephemeral"});
    }
    json!({
        "model": options.model,
        "max_tokens": options.limits.answer_tokens,
        "system": [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}],
        "tools": tools,
        "messages": messages,
    })
}

fn blocks(said: &Said) -> (&'static str, Vec<Value>) {
    match said {
        Said::Prompt(text) => ("user", vec![json!({"type": "text", "text": not_empty(text)})]),
        Said::Results(results) => (
            "user",
            results
                .iter()
                .map(|result| {
                    json!({"type": "tool_result", "tool_use_id": result.id, "content": not_empty(&result.text),
                        "is_error": result.failed})
                })
                .collect(),
        ),
        Said::Answer(answer) => {
            let mut blocks = Vec::new();
            if !answer.text.trim().is_empty() {
                blocks.push(json!({"type": "text", "text": answer.text.trim_end()}));
            }
            for call in &answer.calls {
                let input = call.input.clone().unwrap_or_default();
                blocks.push(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input}));
            }
            if blocks.is_empty() {
                blocks.push(json!({"type": "text", "text": "(nothing)"}));
            }
            ("assistant", blocks)
        }
    }
}

/// The API refuses empty texts.
fn not_empty(text: &str) -> &str {
    if text.is_empty() { "(nothing)" } else { text }
}

pub(super) fn answer(body: &Value) -> Result<Answer, String> {
    let blocks = body["content"].as_array().ok_or("the model's answer has no content")?;
    let mut answer = Answer::default();
    for block in blocks {
        match block["type"].as_str() {
            Some("text") => answer.text.push_str(block["text"].as_str().unwrap_or_default()),
            Some("tool_use") => answer.calls.push(Call {
                id: block["id"].as_str().ok_or("a tool call has no id")?.to_owned(),
                name: block["name"].as_str().unwrap_or_default().to_owned(),
                input: block["input"]
                    .as_object()
                    .cloned()
                    .ok_or_else(|| "the input is no object".to_owned()),
            }),
            // Thinking and what else there may be needs no answer.
            _ => {}
        }
    }
    answer.cut_off = body["stop_reason"] == "max_tokens";
    answer.refused = body["stop_reason"] == "refusal";
    let usage = &body["usage"];
    let count = |name: &str| usage[name].as_u64().unwrap_or(0);
    answer.usage = Usage {
        sent: count("input_tokens")
            + count("cache_read_input_tokens")
            + count("cache_creation_input_tokens"),
        received: count("output_tokens"),
    };
    Ok(answer)
}
