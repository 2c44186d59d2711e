//! The give-up report on its way from an agent to the platform.
//!
//! An agent of any make says it in its last message as a fenced block that is named
//! `windlass-give-up` and holds a JSON object; the prompt asks for that. The built-in agent sends
//! the same block, and beside it the same object as `_meta` of its answer to `session/prompt` under
//! the key [`META_KEY`]; the `_meta` form wins. A report is the agent's claim: that a job gave up is
//! decided by the runner, which also looks at the work tree.

use serde::Deserialize;
use serde_json::Value;
use windlass_wire::session::GiveUp;

use crate::clip;

/// The name of the fenced block.
pub const FENCE: &str = "windlass-give-up";
/// The key in `_meta` of the answer to `session/prompt`.
pub const META_KEY: &str = "windlass.giveUp";

/// The most bytes of one field that are kept.
const FIELD: usize = 4 * 1024;
/// The most entries of `tried` that are kept.
const ENTRIES: usize = 50;

/// What stands in the example that the prompt shows.
const PLACEHOLDER: &str = "...";

/// The paragraph of the first prompt that asks for the report.
pub fn request() -> String {
    format!(
        "If the task can't be done here, change nothing further and end your last message with this block instead of \
         pretending:\n```{FENCE}\n{{\"tried\": [\"{PLACEHOLDER}\"], \"stopped_because\": \"{PLACEHOLDER}\", \"would_unblock\": \"{PLACEHOLDER}\"}}\n```\n"
    )
}

/// The report as the fenced block that [`in_message`] reads.
pub fn block(report: &GiveUp) -> String {
    let json = serde_json::to_string_pretty(report).expect("strings always serialise");
    // A fence inside a string would end the block early; JSON lets a backtick be escaped.
    format!("```{FENCE}\n{}\n```", json.replace('`', "\\u0060"))
}

/// The report in an agent's last message, if there is one. A block that is not the JSON object that
/// was asked for still counts: its text becomes `stopped_because`, so that nothing is lost.
pub fn in_message(message: &str) -> Option<GiveUp> {
    let mut found = None;
    let mut lines = message.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        let fence: String = line.chars().take_while(|character| *character == '`').collect();
        if fence.len() < 3 || line[fence.len()..].trim() != FENCE {
            continue;
        }
        let body: Vec<&str> =
            lines.by_ref().take_while(|line| !line.trim().starts_with(fence.as_str())).collect();
        found = Some(read(&body.join("\n")));
    }
    // An agent that repeats what it was told has not given up.
    found.filter(|report| report.stopped_because != PLACEHOLDER)
}

/// The report in `_meta` of the answer to `session/prompt`, if there is one.
pub(crate) fn in_meta(meta: Option<&serde_json::Map<String, Value>>) -> Option<GiveUp> {
    let value = meta?.get(META_KEY)?;
    Some(read(&value.to_string()))
}

fn read(text: &str) -> GiveUp {
    match serde_json::from_str::<Loose>(text) {
        Ok(loose) => GiveUp {
            tried: loose
                .tried
                .0
                .iter()
                .take(ENTRIES)
                .map(|entry| clip::head(entry, FIELD).to_owned())
                .collect(),
            stopped_because: clip::head(&loose.stopped_because.0.join("\n"), FIELD).to_owned(),
            would_unblock: clip::head(&loose.would_unblock.0.join("\n"), FIELD).to_owned(),
        },
        Err(_) => GiveUp {
            tried: Vec::new(),
            stopped_because: clip::head(text.trim(), FIELD).to_owned(),
            would_unblock: String::new(),
        },
    }
}

/// The object as models write it: a string where a list was asked for, and the other way round.
#[derive(Deserialize)]
struct Loose {
    #[serde(default)]
    tried: Strings,
    stopped_because: Strings,
    #[serde(default)]
    would_unblock: Strings,
}

#[derive(Default, Deserialize)]
#[serde(from = "OneOrMany")]
struct Strings(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    None(()),
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Strings {
    fn from(value: OneOrMany) -> Self {
        Self(match value {
            OneOrMany::None(()) => Vec::new(),
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> GiveUp {
        GiveUp {
            tried: vec!["an upgrade".to_owned(), "a ``` fence".to_owned()],
            stopped_because: "the registry is not reachable".to_owned(),
            would_unblock: "allow registry.example".to_owned(),
        }
    }

    #[test]
    fn a_block_reads_back_as_it_was_written() {
        let message = format!("I tried.\n\n{}\n", block(&report()));
        assert_eq!(in_message(&message), Some(report()));
    }

    #[test]
    fn the_example_in_the_prompt_has_the_form_that_is_read_but_is_no_report() {
        assert_eq!(in_message(&request()), None);
        let filled = request().replace("...", "x");
        assert_eq!(
            in_message(&filled),
            Some(GiveUp {
                tried: vec!["x".to_owned()],
                stopped_because: "x".to_owned(),
                would_unblock: "x".to_owned()
            })
        );
    }

    #[test]
    fn lists_and_strings_are_taken_for_each_other() {
        let text = "```windlass-give-up\n{\"tried\": \"one\", \"stopped_because\": [\"a\", \"b\"], \"would_unblock\": null}\n```";
        assert_eq!(
            in_message(text),
            Some(GiveUp {
                tried: vec!["one".to_owned()],
                stopped_because: "a\nb".to_owned(),
                would_unblock: String::new()
            })
        );
    }

    #[test]
    fn a_block_that_is_no_json_keeps_its_words() {
        let expected = GiveUp {
            tried: vec![],
            stopped_because: "no network".to_owned(),
            would_unblock: String::new(),
        };
        assert_eq!(in_message("```windlass-give-up\nno network\n```"), Some(expected.clone()));
        assert_eq!(in_message("```windlass-give-up\nno network"), Some(expected));
    }

    #[test]
    fn other_messages_are_no_report() {
        assert_eq!(in_message("All done."), None);
        assert_eq!(in_message("```json\n{\"stopped_because\": \"x\"}\n```"), None);
        assert_eq!(in_message("write a windlass-give-up block"), None);
    }
}
