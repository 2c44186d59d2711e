//! OpenAI Responses.

use serde_json::{Value, json};

use super::{Answer, named_event, pieces};

pub(super) fn whole(answer: &Answer<'_>) -> Value {
    let status = if answer.reply.truncated { "incomplete" } else { "completed" };
    let mut whole = envelope(answer, status);
    whole["output"] = items(answer).into_iter().map(|item| item.done).collect();
    if answer.reply.truncated {
        whole["incomplete_details"] = json!({ "reason": "max_output_tokens" });
    }
    let usage = answer.reply.usage;
    whole["usage"] = json!({
        "input_tokens": usage.input + usage.cached,
        "input_tokens_details": { "cached_tokens": usage.cached },
        "output_tokens": usage.output,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": usage.total(),
    });
    whole
}

fn envelope(answer: &Answer<'_>, status: &str) -> Value {
    json!({
        "id": format!("resp_windlass{:06}", answer.number),
        "object": "response",
        "created_at": 0,
        "status": status,
        "background": false,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "max_output_tokens": null,
        "metadata": {},
        "model": answer.prompt.model,
        "output": [],
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": { "effort": null, "summary": null },
        "store": false,
        "temperature": 1.0,
        "text": { "format": { "type": "text" } },
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": null,
        "user": null,
    })
}

/// One item of the output: as it begins, the events in between without their place, as it is done.
struct Item {
    added: Value,
    between: Vec<Value>,
    done: Value,
}

fn items(answer: &Answer<'_>) -> Vec<Item> {
    let mut items = Vec::new();
    if !answer.reply.text.is_empty() {
        items.push(message(answer));
    }
    for (index, tool) in answer.reply.tools.iter().enumerate() {
        items.push(if answer.is_free_form(&tool.name) {
            custom_call(answer, index)
        } else {
            function_call(answer, index)
        });
    }
    items
}

fn message(answer: &Answer<'_>) -> Item {
    let text = answer.reply.text.as_str();
    let id = format!("msg_windlass{:06}", answer.number);
    let item = |status: &str, content: Value| json!({ "type": "message", "id": id, "status": status, "role": "assistant", "content": content });
    let part = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] });
    let mut between = vec![json!({
        "type": "response.content_part.added", "item_id": id, "content_index": 0, "part": part(""),
    })];
    for piece in pieces(text) {
        between.push(json!({
            "type": "response.output_text.delta", "item_id": id, "content_index": 0, "delta": piece, "logprobs": [],
        }));
    }
    between.push(json!({
        "type": "response.output_text.done", "item_id": id, "content_index": 0, "text": text, "logprobs": [],
    }));
    between.push(json!({
        "type": "response.content_part.done", "item_id": id, "content_index": 0, "part": part(text),
    }));
    Item {
        added: item("in_progress", json!([])),
        between,
        done: item("completed", json!([part(text)])),
    }
}

fn function_call(answer: &Answer<'_>, index: usize) -> Item {
    let tool = &answer.reply.tools[index];
    let arguments = tool.input.to_string();
    let id = answer.tool_id("fc_", index);
    let call_id = answer.tool_id("call_", index);
    let item = |status: &str, arguments: &str| {
        json!({
            "type": "function_call", "id": id, "call_id": call_id, "name": tool.name,
            "arguments": arguments, "status": status,
        })
    };
    let mut between: Vec<_> = pieces(&arguments)
        .iter()
        .map(|piece| json!({ "type": "response.function_call_arguments.delta", "item_id": id, "delta": piece }))
        .collect();
    between.push(json!({
        "type": "response.function_call_arguments.done", "item_id": id, "name": tool.name, "arguments": arguments,
    }));
    Item { added: item("in_progress", ""), between, done: item("completed", &arguments) }
}

fn custom_call(answer: &Answer<'_>, index: usize) -> Item {
    let tool = &answer.reply.tools[index];
    let input = match &tool.input {
        Value::String(text) => text.clone(),
        other => other["input"].as_str().map_or_else(|| other.to_string(), ToOwned::to_owned),
    };
    let id = answer.tool_id("ctc_", index);
    let call_id = answer.tool_id("call_", index);
    let item = |status: &str, input: &str| {
        json!({
            "type": "custom_tool_call", "id": id, "call_id": call_id, "name": tool.name,
            "input": input, "status": status,
        })
    };
    let mut between: Vec<_> = pieces(&input)
        .iter()
        .map(|piece| json!({ "type": "response.custom_tool_call_input.delta", "item_id": id, "delta": piece }))
        .collect();
    between.push(
        json!({ "type": "response.custom_tool_call_input.done", "item_id": id, "input": input }),
    );
    Item { added: item("in_progress", ""), between, done: item("completed", &input) }
}

pub(super) fn events(answer: &Answer<'_>) -> Vec<String> {
    let begun = envelope(answer, "in_progress");
    let mut events = vec![
        json!({ "type": "response.created", "response": begun }),
        json!({ "type": "response.in_progress", "response": begun }),
    ];
    for (index, item) in items(answer).into_iter().enumerate() {
        events.push(json!({ "type": "response.output_item.added", "output_index": index, "item": item.added }));
        for mut event in item.between {
            event["output_index"] = index.into();
            events.push(event);
        }
        events.push(json!({ "type": "response.output_item.done", "output_index": index, "item": item.done }));
    }
    let last = if answer.reply.truncated { "response.incomplete" } else { "response.completed" };
    events.push(json!({ "type": last, "response": whole(answer) }));
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = number.into();
    }
    events.iter().map(named_event).collect()
}
