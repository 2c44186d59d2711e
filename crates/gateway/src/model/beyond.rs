//! What a request would have the provider itself do in the world: search the web, fetch an address, call
//! a remote tool server, run code on the provider's machines. That would be a way out of the environment
//! past the web door and its rules, so it is refused unless the operator allows it. Reads the request
//! and never changes it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::route::Wire;

/// Finds the first thing in a request that reaches beyond the model; `Ok(None)` if there is none. The
/// answer reads well after "the request asks for ".
pub(super) fn reach(wire: Wire, body: &[u8]) -> Result<Option<String>, serde_json::Error> {
    let Tools { tools, mcp_servers, web_search_options } = serde_json::from_slice(body)?;
    if mcp_servers.is_some_and(|servers| !servers.is_empty()) {
        return Ok(Some("remote tool servers (`mcp_servers`)".to_owned()));
    }
    if web_search_options.is_some() {
        return Ok(Some("a web search (`web_search_options`)".to_owned()));
    }
    if let Some(name) = tools.iter().flatten().find_map(|tool| tool.runs_elsewhere(wire)) {
        return Ok(Some(format!("the provider's own tool `{name}`")));
    }
    let Walk { address } = serde_json::from_slice(body)?;
    Ok(address.map(|key| format!("an address that the provider would fetch (`{key}`)")))
}

/// The fields of a request that name tools.
#[derive(Deserialize)]
struct Tools {
    #[serde(default)]
    tools: Option<Vec<Tool>>,
    #[serde(default)]
    mcp_servers: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    web_search_options: Option<IgnoredAny>,
}

/// A tool, as far as it says where it runs.
#[derive(Default)]
struct Tool {
    keys: Vec<String>,
    kind: Option<String>,
    /// It looks only at what the provider has.
    stays: bool,
    /// The tools that it groups.
    inner: Vec<Tool>,
}

/// Types of tools that the client runs itself, and so the environment with its rules, or that only find
/// other tools. A version follows those that end in `_` (`bash_20250124`).
const RUN_BY_CLIENT: &[&str] = &[
    "function",
    "custom",
    "namespace",
    "local_shell",
    "apply_patch",
    "computer",
    "computer_",
    "bash_",
    "text_editor_",
    "memory_",
    "tool_search",
    "tool_search_tool_",
];

impl Tool {
    /// The tool's name, if it is the provider that runs it.
    fn runs_elsewhere(&self, wire: Wire) -> Option<String> {
        match (wire, &self.kind) {
            // Each key of Gemini's tools is a tool of its own.
            (Wire::GeminiContent, _) => self
                .keys
                .iter()
                .find(|key| {
                    !matches!(
                        key.as_str(),
                        "functionDeclarations" | "function_declarations" | "computerUse"
                    )
                })
                .cloned(),
            (_, None) => None,
            (_, Some(kind)) => {
                let is_clients = RUN_BY_CLIENT.iter().any(|known| {
                    kind == known || (known.ends_with('_') && kind.starts_with(known))
                });
                // OpenAI's search in what the provider has already read.
                let is_stored = kind == "web_search" && self.stays;
                if is_clients || is_stored {
                    return self.inner.iter().find_map(|tool| tool.runs_elsewhere(wire));
                }
                Some(kind.chars().take(60).collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Tool;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a tool")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tool, A::Error> {
                let mut tool = Tool::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        // Of two, readers differ on which one counts.
                        "type" if tool.kind.is_some() => {
                            return Err(serde::de::Error::duplicate_field("type"));
                        }
                        "type" => tool.kind = map.next_value()?,
                        "external_web_access" => {
                            tool.stays = map.next_value::<Option<bool>>()? == Some(false)
                                && !tool.keys.contains(&key);
                        }
                        "tools" => {
                            tool.inner.extend(
                                map.next_value::<Option<Vec<Tool>>>()?.into_iter().flatten(),
                            );
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                    tool.keys.push(key);
                }
                Ok(tool)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// Goes through a whole request without keeping it, and finds the first address to be fetched.
#[derive(Default)]
struct Walk {
    address: Option<&'static str>,
}

/// Keys whose text, or whose `url`, the provider fetches.
const FETCHED: &[&str] = &["image_url", "file_url", "fileUri", "file_uri", "video_url"];

/// A value: what it says itself, if it is text, and what was found below it.
#[derive(Default)]
struct Seen {
    is_address: bool,
    /// It is an object of the form `{"type": "url", "url": ...}` or `{"url": ...}`.
    has_address: bool,
    below: Option<&'static str>,
}

impl<'de> Deserialize<'de> for Walk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Seen::deserialize(deserializer).map(|seen| Self { address: seen.below })
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Seen;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Seen, E> {
        // Everything but the content itself, whatever scheme the provider may know.
        let text = text.trim_start();
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        let is_address = scheme.is_some_and(|scheme| {
            !scheme.eq_ignore_ascii_case("data")
                && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+')
        });
        Ok(Seen { is_address, ..Seen::default() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Seen, A::Error> {
        let mut seen = Seen::default();
        while let Some(item) = list.next_element::<Seen>()? {
            seen.below = seen.below.or(item.below);
        }
        Ok(seen)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seen, A::Error> {
        let mut seen = Seen::default();
        while let Some(key) = map.next_key::<String>()? {
            let value: Seen = map.next_value()?;
            seen.has_address |= key == "url" && value.is_address;
            seen.below = seen.below.or(value.below);
            if let Some(fetched) = FETCHED.iter().find(|known| **known == key)
                && (value.is_address || value.has_address)
            {
                seen.below = seen.below.or(Some(fetched));
            }
            if key == "source" && value.has_address {
                seen.below = seen.below.or(Some("source"));
            }
        }
        Ok(seen)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(Seen::default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_way_past_the_doors_is_seen() {
        let beyond = [
            (Wire::AnthropicMessages, json!({ "tools": [{ "type": "web_search_20250305" }] })),
            (Wire::AnthropicMessages, json!({ "tools": [{ "type": "web_fetch_20250910" }] })),
            (Wire::AnthropicMessages, json!({ "tools": [{ "type": "code_execution_20250825" }] })),
            (Wire::AnthropicMessages, json!({ "mcp_servers": [{ "url": "https://a.example" }] })),
            (
                Wire::AnthropicMessages,
                json!({ "messages": [{ "content": [{ "type": "image",
                    "source": { "type": "url", "url": "https://a.example/?secret" } }] }] }),
            ),
            (Wire::OpenaiResponses, json!({ "tools": [{ "type": "mcp", "server_url": "x" }] })),
            (Wire::OpenaiResponses, json!({ "tools": [{ "type": "web_search" }] })),
            (Wire::OpenaiResponses, json!({ "tools": [{ "type": "code_interpreter" }] })),
            (
                Wire::OpenaiResponses,
                json!({ "tools": [{ "type": "namespace", "tools": [{ "type": "mcp" }] }] }),
            ),
            (
                Wire::OpenaiResponses,
                json!({ "input": [{ "content": [{ "type": "input_image",
                    "image_url": " HTTPS://a.example/?secret" }] }] }),
            ),
            (
                Wire::OpenaiResponses,
                json!({ "input": [{ "content": [{ "file_url": "https://a.example" }] }] }),
            ),
            (
                Wire::OpenaiChat,
                json!({ "messages": [{ "content": [{ "type": "image_url",
                    "image_url": { "url": "http://a.example" } }] }] }),
            ),
            (Wire::OpenaiChat, json!({ "web_search_options": {} })),
            (Wire::GeminiContent, json!({ "tools": [{ "googleSearch": {} }] })),
            (Wire::GeminiContent, json!({ "tools": [{ "url_context": {} }] })),
            (
                Wire::GeminiContent,
                json!({ "contents": [{ "parts": [{ "fileData": { "fileUri": "gs://a/b" } }] }] }),
            ),
        ];
        for (wire, body) in beyond {
            let found = reach(wire, body.to_string().as_bytes()).expect("JSON");
            assert!(found.is_some(), "{body}");
        }
    }

    #[test]
    fn what_agents_do_in_their_environment_passes() {
        let inside = [
            (
                Wire::AnthropicMessages,
                json!({ "tools": [
                    { "name": "Bash", "input_schema": { "properties": { "url": {} } } },
                    { "type": "bash_20250124", "name": "bash" },
                    { "type": "custom", "name": "fetch" },
                ], "mcp_servers": [], "messages": [{ "content": [
                    { "type": "tool_use", "input": { "url": "https://docs.example" } },
                    { "type": "text", "text": "see https://docs.example" },
                    { "type": "image", "source": { "type": "base64", "data": "aGk=" } },
                ] }] }),
            ),
            (
                Wire::OpenaiResponses,
                json!({ "tools": [
                    { "type": "function", "name": "shell" },
                    { "type": "local_shell" },
                    { "type": "web_search", "external_web_access": false },
                ], "input": [{ "content": [{ "image_url": "data:image/png;base64,aGk=" }] }] }),
            ),
            (Wire::OpenaiChat, json!({ "tools": [{ "type": "function" }], "mcp_servers": null })),
            (Wire::GeminiContent, json!({ "tools": [{ "functionDeclarations": [] }], "n": [1.5] })),
        ];
        for (wire, body) in inside {
            assert_eq!(reach(wire, body.to_string().as_bytes()).expect("JSON"), None, "{body}");
        }
    }

    #[test]
    fn a_type_that_is_said_twice_is_an_error() {
        let body = br#"{"tools":[{"type":"mcp","type":"function"}]}"#;
        assert!(reach(Wire::OpenaiResponses, body).is_err());
        let body = br#"{"tools":[{"type":"mcp"}],"tools":[]}"#;
        assert!(reach(Wire::OpenaiResponses, body).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            for wire in [Wire::AnthropicMessages, Wire::GeminiContent] {
                let _ = reach(wire, &body);
            }
        }

        #[test]
        fn no_json_makes_it_panic(body in "[\\[\\]{}:,\" a-z0-9]{0,200}") {
            let _ = reach(Wire::OpenaiResponses, body.as_bytes());
        }
    }
}
