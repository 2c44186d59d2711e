//! Google's Generative Language API.

use serde_json::{Value, json};

use super::{Answer, pieces};

pub(super) fn whole(answer: &Answer<'_>) -> Value {
    let mut parts = Vec::new();
    if !answer.reply.thinking.is_empty() {
        parts.push(json!({ "text": answer.reply.thinking, "thought": true }));
    }
    if !answer.reply.text.is_empty() {
        parts.push(json!({ "text": answer.reply.text }));
    }
    parts.extend(calls(answer));
    chunk(answer, parts, true)
}

fn calls(answer: &Answer<'_>) -> impl Iterator<Item = Value> {
    answer
        .reply
        .tools
        .iter()
        .map(|tool| json!({ "functionCall": { "name": tool.name, "args": tool.input } }))
}

fn chunk(answer: &Answer<'_>, parts: Vec<Value>, is_last: bool) -> Value {
    let usage = answer.reply.usage;
    let output = if is_last { usage.output } else { 0 };
    let mut candidate = json!({ "content": { "parts": parts, "role": "model" }, "index": 0 });
    if is_last {
        candidate["finishReason"] =
            if answer.reply.truncated { "MAX_TOKENS" } else { "STOP" }.into();
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": usage.input + usage.cached,
            "candidatesTokenCount": output,
            "totalTokenCount": usage.input + usage.cached + output,
            "cachedContentTokenCount": usage.cached,
        },
        "modelVersion": answer.prompt.model,
        "responseId": format!("windlass{:06}", answer.number),
    })
}

pub(super) fn chunks(answer: &Answer<'_>) -> Vec<Value> {
    let mut groups: Vec<Vec<Value>> = Vec::new();
    for piece in pieces(&answer.reply.thinking) {
        groups.push(vec![json!({ "text": piece, "thought": true })]);
    }
    for piece in pieces(&answer.reply.text) {
        groups.push(vec![json!({ "text": piece })]);
    }
    groups.extend(calls(answer).map(|call| vec![call]));
    let last = groups.len().saturating_sub(1);
    groups
        .into_iter()
        .enumerate()
        .map(|(index, parts)| chunk(answer, parts, index == last))
        .collect()
}
