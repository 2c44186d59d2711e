//! A streamed OpenAI chat answer says what it used only if the request asks for it. The door asks on
//! its own account, and takes the extra chunk out again: clients that did not ask for it may not
//! expect one without choices.

use serde_json::Value;

use super::sse::Events;

/// Adds the wish for usage to a request. The rest of the body keeps its bytes, so that the
/// provider's prompt cache still hits.
pub(super) fn ask(body: &[u8]) -> Option<Vec<u8>> {
    let open = body.iter().position(|byte| !byte.is_ascii_whitespace())?;
    if body[open] != b'{' {
        return None;
    }
    let (head, rest) = body.split_at(open + 1);
    let empty = rest.trim_ascii_start().first() == Some(&b'}');
    let wish = br#""stream_options":{"include_usage":true}"#.as_slice();
    let comma = if empty { b"".as_slice() } else { b"," };
    Some([head, wish, comma, rest].concat())
}

/// Takes the chunk out of the answer.
#[derive(Debug, Default)]
pub(super) struct Filter {
    events: Events,
}

impl Filter {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let kept = self.events.push(bytes).into_iter().filter(|event| {
            let value = event.data().and_then(|data| serde_json::from_str::<Value>(&data).ok());
            let is_extra = |value: Value| {
                value["usage"].is_object() && value["choices"].as_array().is_some_and(Vec::is_empty)
            };
            !value.is_some_and(is_extra)
        });
        kept.flat_map(|event| event.raw).collect()
    }

    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.events.rest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wish_is_added_in_front_of_an_unchanged_body() {
        let wished = ask(b" {\"b\":1, \"a\":2}").expect("an object");
        assert_eq!(wished, br#" {"stream_options":{"include_usage":true},"b":1, "a":2}"#);
        assert_eq!(
            ask(b"{ }").expect("an object"),
            br#"{"stream_options":{"include_usage":true} }"#
        );
        assert_eq!(ask(b"[]"), None);
    }

    #[test]
    fn only_the_chunk_without_choices_is_taken_out() {
        let mut filter = Filter::default();
        let first = b"data: {\"choices\":[{}],\"usage\":null}\n\n".as_slice();
        assert_eq!(filter.push(first), first);
        assert_eq!(
            filter.push(b"data: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n"),
            b"data: [DONE]\n\n"
        );
        assert_eq!(filter.finish(), b"");
    }
}
