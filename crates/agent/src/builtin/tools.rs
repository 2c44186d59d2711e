//! The tools of the built-in agent: how a model is told of them, and how its input is read. What
//! they do is in `files` and `exec`.

pub(super) mod exec;
pub(super) mod files;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use windlass_wire::session::GiveUp;

use super::model::Offer;

/// A tool call whose input was understood.
#[derive(Debug)]
pub(super) enum Tool {
    Read(files::Read),
    Edit(files::Edit),
    Exec(exec::Exec),
    Finish(Finish),
}

/// The end of the work, as the model says it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Finish {
    /// What was done, for the reader of the change.
    #[serde(default)]
    pub(super) summary: String,
    /// There when the work can't be done.
    #[serde(default)]
    pub(super) gave_up: Option<GiveUp>,
}

/// The tools as a model is told of them.
pub(super) fn offers() -> Vec<Offer> {
    vec![
        Offer {
            name: "read",
            description: "Read a text file, with line numbers, or list a directory. Long files come in parts: say from \
                          which line on.",
            schema: object(
                json!({
                    "path": {"type": "string", "description": "File or directory, relative to the repository."},
                    "from_line": {"type": "integer", "minimum": 1, "description": "The first line to show; 1 if absent."},
                    "lines": {"type": "integer", "minimum": 1, "description": "How many lines to show; 1000 if absent."},
                }),
                &["path"],
            ),
        },
        Offer {
            name: "edit",
            description: "Change a file. With `old`, that exact text, which must occur once (or `all` must be true), is \
                          replaced by `new`. Without `old`, `new` becomes the whole file, which is created if need be.",
            schema: object(
                json!({
                    "path": {"type": "string", "description": "The file, relative to the repository."},
                    "old": {"type": "string", "description": "The exact text to replace, without line numbers."},
                    "new": {"type": "string", "description": "The text to put there."},
                    "all": {"type": "boolean", "description": "Replace every occurrence."},
                }),
                &["path", "new"],
            ),
        },
        Offer {
            name: "exec",
            description: "Run a shell command in the repository and get its output and exit code. Long output loses its \
                          middle. It has no terminal and no input.",
            schema: object(
                json!({
                    "command": {"type": "string"},
                    "seconds": {"type": "integer", "minimum": 1, "description": "Its time limit; 300 if absent."},
                }),
                &["command"],
            ),
        },
        Offer {
            name: "finish",
            description: "End your work: with a summary when it is done, or with `gave_up` when it can't be done here.",
            schema: object(
                json!({
                    "summary": {"type": "string", "description": "What you changed and how you checked it."},
                    "gave_up": object(
                        json!({
                            "tried": {"type": "array", "items": {"type": "string"}},
                            "stopped_because": {"type": "string"},
                            "would_unblock": {"type": "string"},
                        }),
                        &["tried", "stopped_because", "would_unblock"],
                    ),
                }),
                &["summary"],
            ),
        },
    ]
}

/// Reads a call. The error is for the model, which then tries again.
pub(super) fn read(name: &str, input: &Result<Map<String, Value>, String>) -> Result<Tool, String> {
    let input = input.clone()?;
    match name {
        "read" => parse(input).map(Tool::Read),
        "edit" => parse(input).map(Tool::Edit),
        "exec" => parse(input).map(Tool::Exec),
        "finish" => parse(input).map(Tool::Finish),
        _ => Err(format!("there is no tool `{name}`; there are read, edit, exec and finish")),
    }
}

fn parse<T: DeserializeOwned>(input: Map<String, Value>) -> Result<T, String> {
    // Models send `null` for what they leave out.
    let input: Map<String, Value> =
        input.into_iter().filter(|(_, value)| !value.is_null()).collect();
    serde_json::from_value(Value::Object(input))
        .map_err(|error| format!("the input is not as described: {error}"))
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(value: Value) -> Result<Map<String, Value>, String> {
        Ok(value.as_object().unwrap().clone())
    }

    #[test]
    fn a_call_that_is_not_as_described_is_explained_to_the_model() {
        assert!(matches!(
            read("read", &input(json!({"path": "a", "lines": null}))),
            Ok(Tool::Read(_))
        ));
        assert_eq!(
            read("exec", &input(json!({"cmd": "ls"}))).unwrap_err(),
            "the input is not as described: unknown field `cmd`, expected `command` or `seconds`"
        );
        assert_eq!(
            read("shell", &input(json!({}))).unwrap_err(),
            "there is no tool `shell`; there are read, edit, exec and finish"
        );
        assert_eq!(read("read", &Err("no JSON".to_owned())).unwrap_err(), "no JSON");
    }

    #[test]
    fn every_field_that_is_offered_is_read() {
        let full = [
            ("read", json!({"path": "a", "from_line": 2, "lines": 3})),
            ("edit", json!({"path": "a", "old": "x", "new": "y", "all": true})),
            ("exec", json!({"command": "ls", "seconds": 3})),
            (
                "finish",
                json!({"summary": "s", "gave_up": {"tried": ["a"], "stopped_because": "b", "would_unblock": "c"}}),
            ),
        ];
        for (offer, (name, value)) in offers().iter().zip(full) {
            assert_eq!(offer.name, name);
            let offered: Vec<&String> =
                offer.schema["properties"].as_object().unwrap().keys().collect();
            let given: Vec<&String> = value.as_object().unwrap().keys().collect();
            assert_eq!(offered, given, "{name}");
            read(name, &input(value.clone())).unwrap();
        }
    }
}
