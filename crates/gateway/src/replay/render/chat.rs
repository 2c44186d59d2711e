//! OpenAI Chat Completions.

use serde_json::{Value, json};

use super::{Answer, data_event, pieces};

pub(super) fn whole(answer: &Answer<'_>) -> Value {
    let reply = answer.reply;
    let mut message = json!({ "role": "assistant", "content": null, "refusal": null });
    if !reply.text.is_empty() {
        message["content"] = reply.text.as_str().into();
    }
    if !reply.tools.is_empty() {
        let calls = reply.tools.iter().enumerate().map(|(index, tool)| {
            let function = json!({ "name": tool.name, "arguments": tool.input.to_string() });
            json!({ "id": answer.tool_id("call_", index), "type": "function", "function": function })
        });
        message["tool_calls"] = calls.collect();
    }
    let mut whole = envelope(answer, "chat.completion");
    whole["choices"] = json!([{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(answer) }]);
    whole["usage"] = usage(answer);
    whole
}

fn envelope(answer: &Answer<'_>, object: &str) -> Value {
    json!({
        "id": format!("chatcmpl-windlass{:06}", answer.number),
        "object": object,
        "created": 0,
        "model": answer.prompt.model,
        "system_fingerprint": null,
    })
}

fn finish_reason(answer: &Answer<'_>) -> &'static str {
    match (answer.reply.truncated, answer.reply.tools.is_empty()) {
        (true, _) => "length",
        (false, false) => "tool_calls",
        (false, true) => "stop",
    }
}

fn usage(answer: &Answer<'_>) -> Value {
    let usage = answer.reply.usage;
    json!({
        "prompt_tokens": usage.input + usage.cached,
        "completion_tokens": usage.output,
        "total_tokens": usage.total(),
        "prompt_tokens_details": { "cached_tokens": usage.cached },
        "completion_tokens_details": { "reasoning_tokens": 0 },
    })
}

pub(super) fn events(answer: &Answer<'_>) -> Vec<String> {
    let chunk = |delta: Value, finish: Value| {
        let mut chunk = envelope(answer, "chat.completion.chunk");
        chunk["choices"] =
            json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }]);
        if answer.prompt.stream_usage {
            chunk["usage"] = Value::Null;
        }
        data_event(&chunk)
    };
    let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
    for piece in pieces(&answer.reply.text) {
        events.push(chunk(json!({ "content": piece }), Value::Null));
    }
    for (index, tool) in answer.reply.tools.iter().enumerate() {
        let id = answer.tool_id("call_", index);
        let function = json!({ "name": tool.name, "arguments": "" });
        let start = json!({ "index": index, "id": id, "type": "function", "function": function });
        events.push(chunk(json!({ "tool_calls": [start] }), Value::Null));
        for piece in pieces(&tool.input.to_string()) {
            let more = json!({ "index": index, "function": { "arguments": piece } });
            events.push(chunk(json!({ "tool_calls": [more] }), Value::Null));
        }
    }
    events.push(chunk(json!({}), finish_reason(answer).into()));
    if answer.prompt.stream_usage {
        let mut last = envelope(answer, "chat.completion.chunk");
        last["choices"] = json!([]);
        last["usage"] = usage(answer);
        events.push(data_event(&last));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}
