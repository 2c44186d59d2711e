//! Reading session files, and which turn answers which request.

use serde_json::{Value, json};

use super::*;

fn session(lines: &[&str]) -> Session {
    let text = format!(
        "{{\"windlass_session\":1,\"about\":\"a test\",\"scripted\":true}}\n{}",
        lines.join("\n")
    );
    Session::parse(&text, &[("place".to_owned(), "src".to_owned())].into()).expect("a session")
}

/// What a request of one user message gets.
fn ask(replay: &Replay, text: &str) -> Result<String, String> {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": text }] });
    let prompt = Prompt::read(Wire::OpenaiChat, &body);
    let reply = replay.reply(&prompt, body.to_string().as_bytes());
    reply.map(|(_, reply)| reply.text.clone()).map_err(|mismatch| mismatch.to_string())
}

#[test]
fn turns_are_answered_in_order_and_a_repeated_request_gets_the_same_answer() {
    let replay = Replay::new(session(&[
        r#"{"expect":{"last":["one"]},"reply":{"text":"1"}}"#,
        r#"{"expect":{"last":["two"]},"reply":{"text":"2"}}"#,
    ]));
    assert_eq!(ask(&replay, "one"), Ok("1".to_owned()));
    assert_eq!(ask(&replay, "one"), Ok("1".to_owned()));
    assert_eq!(replay.left(), 1);
    assert_eq!(ask(&replay, "two"), Ok("2".to_owned()));
    assert_eq!(replay.left(), 0);
}

#[test]
fn equal_requests_take_the_next_turn_while_there_is_one_that_fits() {
    let replay = Replay::new(session(&[r#"{"reply":{"text":"1"}}"#, r#"{"reply":{"text":"2"}}"#]));
    assert_eq!(ask(&replay, "same"), Ok("1".to_owned()));
    assert_eq!(ask(&replay, "same"), Ok("2".to_owned()));
}

#[test]
fn an_aside_answers_at_any_time_and_as_often_as_needed() {
    let replay = Replay::new(session(&[
        r#"{"aside":true,"expect":{"last":["title"]},"reply":{"text":"T"}}"#,
        r#"{"expect":{"last":["one"]},"reply":{"text":"1"}}"#,
    ]));
    assert_eq!(replay.left(), 1);
    assert_eq!(ask(&replay, "a title, please"), Ok("T".to_owned()));
    assert_eq!(ask(&replay, "one"), Ok("1".to_owned()));
    assert_eq!(ask(&replay, "another title"), Ok("T".to_owned()));
    assert_eq!(replay.left(), 0);
}

#[test]
fn an_unexpected_request_says_which_turn_was_next_and_what_it_expected() {
    let replay = Replay::new(session(&[
        r#"{"reply":{"text":"1"}}"#,
        r#"{"name":"after the tests","expect":{"last":["2 passed"]},"reply":{"text":"2"}}"#,
    ]));
    assert_eq!(ask(&replay, "go"), Ok("1".to_owned()));
    let mismatch = "the session file has no answer for this request: turn 2 (`after the tests`) expected the newest \
                    part to contain \"2 passed\", but it is \"1 failed\"";
    assert_eq!(ask(&replay, "1 failed"), Err(mismatch.to_owned()));
    assert_eq!(ask(&replay, "2 passed"), Ok("2".to_owned()));
    let mismatch = "the session file has no answer for this request: all its 2 turns are used up";
    assert_eq!(ask(&replay, "more"), Err(mismatch.to_owned()));
}

#[test]
fn every_expectation_is_checked() {
    let body = json!({
        "model": "claude-sonnet", "system": [{ "type": "text", "text": "You are careful." }],
        "tools": [{ "name": "read" }],
        "messages": [
            { "role": "user", "content": "the task" },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "1", "name": "read", "input": { "p": "deep" } }] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "1", "content": [{ "type": "text", "text": "result" }] },
                { "type": "text", "text": "go on" },
            ] },
        ],
    });
    let prompt = Prompt::read(Wire::AnthropicMessages, &body);
    assert_eq!((prompt.answers, prompt.last.as_str()), (1, "result\ngo on"));
    let problem = |expect: Value| {
        serde_json::from_value::<Expect>(expect).expect("an expectation").problem(&prompt)
    };
    for met in [
        json!({ "last": ["result", "go on"], "absent": ["the task"], "anywhere": ["the task", "deep"] }),
        json!({ "system": ["careful"], "tools": ["read"], "model": "sonnet" }),
    ] {
        assert_eq!(problem(met), None);
    }
    for (unmet, words) in [
        (json!({ "last": ["the task"] }), "newest part to contain"),
        (json!({ "absent": ["result"] }), "newest part not to contain"),
        (json!({ "anywhere": ["elsewhere"] }), "conversation to contain"),
        (json!({ "system": ["careless"] }), "system prompt to contain"),
        (
            json!({ "tools": ["exec"] }),
            "expected the tool `exec` to be offered, but these are: read",
        ),
        (json!({ "model": "opus" }), "expected a model with \"opus\""),
    ] {
        assert!(problem(unmet).expect("a problem").contains(words), "{words}");
    }
}

#[test]
fn the_newest_part_is_found_in_every_format() {
    let requests = [
        (
            Wire::OpenaiChat,
            json!({ "messages": [
                { "role": "system", "content": "be brief" }, { "role": "user", "content": [{ "type": "text", "text": "task" }] },
                { "role": "assistant", "content": null, "tool_calls": [{ "function": { "name": "read", "arguments": "{}" } }] },
                { "role": "tool", "tool_call_id": "1", "content": "result" },
            ], "tools": [{ "type": "function", "function": { "name": "read" } }] }),
        ),
        (
            Wire::OpenaiResponses,
            json!({ "instructions": "be brief", "input": [
                { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "task" }] },
                { "type": "reasoning", "summary": [] },
                { "type": "function_call", "name": "read", "arguments": "{}", "call_id": "1" },
                { "type": "function_call_output", "call_id": "1", "output": "result" },
            ], "tools": [{ "type": "function", "name": "read" }] }),
        ),
        (
            Wire::GeminiContent,
            json!({ "systemInstruction": { "parts": [{ "text": "be brief" }] }, "contents": [
                { "role": "user", "parts": [{ "text": "task" }] },
                { "role": "model", "parts": [{ "functionCall": { "name": "read", "args": {} } }] },
                { "role": "user", "parts": [{ "functionResponse": { "name": "", "response": { "output": "result" } } }] },
            ], "tools": [{ "functionDeclarations": [{ "name": "read" }] }] }),
        ),
    ];
    for (wire, body) in requests {
        let prompt = Prompt::read(wire, &body);
        assert_eq!(prompt.last, "result", "{wire:?}");
        assert_eq!((prompt.answers, prompt.system.as_str()), (1, "be brief"), "{wire:?}");
        assert!(prompt.offers("read") && prompt.all.contains("task"), "{wire:?}");
    }
}

#[test]
fn variables_are_put_in_also_deep_inside() {
    let session = session(&[
        r#"{"reply":{"text":"in ${{ place }}","tools":[{"name":"read","input":{"paths":["${{place}}/a.py"]}}]}}"#,
    ]);
    assert_eq!(session.turns[0].reply.text, "in src");
    assert_eq!(session.turns[0].reply.tools[0].input, json!({ "paths": ["src/a.py"] }));
}

#[test]
fn a_bad_file_is_an_error_with_its_line() {
    let header = "{\"windlass_session\":1,\"about\":\"a\",\"scripted\":true}";
    let cases = [
        (
            "",
            "line 1 of the session file: the file is empty; its first line must be like {\"windlass_session\":1,\"about\":\"...\",\"scripted\":true}",
        ),
        (
            "{\"windlass_session\":2,\"about\":\"a\",\"scripted\":true}",
            "line 1 of the session file: version 2 of the format is not known here, only 1",
        ),
        ("{}", "line 1 of the session file: missing field `windlass_session`"),
        (
            "H\n\n{\"reply\":{}}",
            "line 3 of the session file: a reply needs `text`, `tools` or `error`",
        ),
        (
            "H\n{\"reply\":{\"text\":\"${{ who }}\"}}",
            "line 2 of the session file: the variable `who` is not known; known are: ",
        ),
        ("H\n{\"reply\":{\"text\":\"${{ who\"}}", "line 2 of the session file: `${{` without `}}`"),
        (
            "H\n{\"reply\":{\"error\":{\"status\":200,\"message\":\"\"}}}",
            "line 2 of the session file: an error has a status from 400 to 599, not 200",
        ),
        (
            "H\n{\"reply\":{\"text\":\"a\",\"tools\":[{\"name\":\"t\",\"input\":[]}]}}",
            "line 2 of the session file: the input of the tool `t` is neither an object nor a text",
        ),
    ];
    for (text, message) in cases {
        let error =
            Session::parse(&text.replace('H', header), &Default::default()).expect_err(text);
        assert_eq!(error.to_string(), message);
    }
    let unknown = Session::parse(&format!("{header}\n{{\"replay\":{{}}}}"), &Default::default());
    let message = unknown.expect_err("an unknown key").to_string();
    assert!(
        message.starts_with("line 2 of the session file: unknown field `replay`, expected one of"),
        "{message}"
    );
}

#[test]
fn what_is_written_in_any_format_is_read_back_the_same() {
    let reply = Reply {
        text: "First I look at the file, then I change it. ü 🦀\n\n".to_owned(),
        tools: vec![
            ToolUse { name: "read".to_owned(), input: json!({ "path": "a b.py", "n": 3 }) },
            ToolUse { name: "exec".to_owned(), input: json!({ "argv": ["pytest", "-q"] }) },
        ],
        usage: Usage { input: 100, output: 20, cached: 30 },
        ..Reply::default()
    };
    let truncated = Reply { tools: Vec::new(), truncated: true, ..reply.clone() };
    let prompt = Prompt { stream_usage: true, ..Prompt::default() };
    for reply in [reply, truncated] {
        for wire in
            [Wire::AnthropicMessages, Wire::OpenaiChat, Wire::OpenaiResponses, Wire::GeminiContent]
        {
            for (stream, array) in [(false, false), (true, false), (true, true)] {
                if array && wire != Wire::GeminiContent {
                    continue;
                }
                let rendered = render(wire, stream, array, &prompt, &reply, 1);
                let read = read_answer(wire, rendered.pieces.concat().as_bytes());
                assert_eq!(read.as_ref(), Some(&reply), "{wire:?} {stream}");
            }
        }
    }
}
