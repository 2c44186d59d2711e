//! Anthropic Messages.

use serde_json::{Value, json};

use super::{Answer, named_event, pieces};

pub(super) fn whole(answer: &Answer<'_>) -> Value {
    let mut content = Vec::new();
    if !answer.reply.thinking.is_empty() {
        content.push(json!({ "type": "thinking", "thinking": answer.reply.thinking, "signature": "c2NyaXB0ZWQ=" }));
    }
    if !answer.reply.text.is_empty() {
        content.push(json!({ "type": "text", "text": answer.reply.text }));
    }
    for (index, tool) in answer.reply.tools.iter().enumerate() {
        let id = answer.tool_id("toolu_", index);
        content
            .push(json!({ "type": "tool_use", "id": id, "name": tool.name, "input": tool.input }));
    }
    let mut message = envelope(answer);
    message["content"] = content.into();
    message["stop_reason"] = stop_reason(answer).into();
    message["usage"]["output_tokens"] = answer.reply.usage.output.into();
    message
}

/// The message as a stream begins with it.
fn envelope(answer: &Answer<'_>) -> Value {
    let usage = answer.reply.usage;
    json!({
        "id": format!("msg_windlass{:06}", answer.number),
        "type": "message",
        "role": "assistant",
        "model": answer.prompt.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": {
            "input_tokens": usage.input,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": usage.cached,
            "output_tokens": usage.output.min(1),
        },
    })
}

fn stop_reason(answer: &Answer<'_>) -> &'static str {
    match (answer.reply.truncated, answer.reply.tools.is_empty()) {
        (true, _) => "max_tokens",
        (false, false) => "tool_use",
        (false, true) => "end_turn",
    }
}

pub(super) fn events(answer: &Answer<'_>) -> Vec<String> {
    let mut events = vec![
        json!({ "type": "message_start", "message": envelope(answer) }),
        json!({ "type": "ping" }),
    ];
    let mut index = 0;
    let mut block = |start: Value, deltas: Vec<Value>| {
        events
            .push(json!({ "type": "content_block_start", "index": index, "content_block": start }));
        for delta in deltas {
            events.push(json!({ "type": "content_block_delta", "index": index, "delta": delta }));
        }
        events.push(json!({ "type": "content_block_stop", "index": index }));
        index += 1;
    };
    let reply = answer.reply;
    if !reply.thinking.is_empty() {
        let mut deltas: Vec<_> = pieces(&reply.thinking)
            .iter()
            .map(|piece| json!({ "type": "thinking_delta", "thinking": piece }))
            .collect();
        deltas.push(json!({ "type": "signature_delta", "signature": "c2NyaXB0ZWQ=" }));
        block(json!({ "type": "thinking", "thinking": "", "signature": "" }), deltas);
    }
    if !reply.text.is_empty() {
        let deltas = pieces(&reply.text)
            .iter()
            .map(|piece| json!({ "type": "text_delta", "text": piece }))
            .collect();
        block(json!({ "type": "text", "text": "" }), deltas);
    }
    for (index, tool) in reply.tools.iter().enumerate() {
        let input = tool.input.to_string();
        let deltas = pieces(&input)
            .iter()
            .map(|piece| json!({ "type": "input_json_delta", "partial_json": piece }))
            .collect();
        let id = answer.tool_id("toolu_", index);
        block(json!({ "type": "tool_use", "id": id, "name": tool.name, "input": {} }), deltas);
    }
    events.push(json!({
        "type": "message_delta",
        "delta": { "stop_reason": stop_reason(answer), "stop_sequence": null },
        "usage": { "output_tokens": reply.usage.output },
    }));
    events.push(json!({ "type": "message_stop" }));
    events.iter().map(named_event).collect()
}
