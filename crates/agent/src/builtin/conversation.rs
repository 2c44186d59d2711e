//! What was said between the agent and its model, apart from any provider's format, and how it is
//! shortened before it outgrows the model.

use serde_json::Value;

/// One thing that was said.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    /// The client's prompt, or a word of our own.
    Prompt(String),
    /// The model's answer.
    Answer(Answer),
    /// What its tool calls brought, one for each.
    Results(Vec<ToolResult>),
}

/// The model's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// What it says.
    pub(super) text: String,
    /// The tools it calls.
    pub(super) calls: Vec<Call>,
    /// True if it was cut off at the limit of its length.
    pub(super) cut_off: bool,
    /// True if the provider refused to go on.
    pub(super) refused: bool,
    /// What it used.
    pub(super) usage: Usage,
}

/// Tokens of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Sent, also those that were read from a cache.
    pub(super) sent: u64,
    /// Received.
    pub(super) received: u64,
}

/// A tool call of the model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// The input; an error text if it was no JSON object.
    pub(super) input: Result<serde_json::Map<String, Value>, String>,
}

/// What a tool call brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToolResult {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) failed: bool,
}

/// A whole conversation.
#[derive(Clone, Debug, Default)]
pub(super) struct Conversation {
    said: Vec<Said>,
}

/// What stands where an old result was.
const LEFT_OUT: &str = "[left out to save room; use the tool again if you need it]";
/// How many of the newest entries are never shortened.
const NEWEST: usize = 8;
/// Bytes for one token, roughly; only used to judge what shortening would bring.
const BYTES_PER_TOKEN: u64 = 4;

impl Conversation {
    pub(super) fn said(&self) -> &[Said] {
        &self.said
    }

    pub(super) fn push(&mut self, said: Said) {
        self.said.push(said);
    }

    /// Answers every call that has no result, so that the conversation can go on after a turn was
    /// broken off: providers refuse a call without a result.
    pub(super) fn close_open_calls(&mut self, why: &str) {
        if let Some(Said::Answer(answer)) = self.said.last()
            && !answer.calls.is_empty()
        {
            let results = answer
                .calls
                .iter()
                .map(|call| ToolResult { id: call.id.clone(), text: why.to_owned(), failed: true })
                .collect();
            self.said.push(Said::Results(results));
        }
    }

    /// Brings the conversation down to about `tokens`, oldest results first, then oldest exchanges.
    /// The first prompt and the newest entries stay. Returns true if anything was left out.
    pub(super) fn shorten(&mut self, tokens: u64) -> bool {
        let budget = tokens * BYTES_PER_TOKEN;
        let mut size = self.size();
        let mut shortened = false;
        let keep_from = self.said.len().saturating_sub(NEWEST);
        for said in &mut self.said[..keep_from] {
            if size <= budget {
                return shortened;
            }
            size -= leave_out(said, &mut shortened);
        }
        // Exchanges are dropped whole: an answer with its results, or a later prompt.
        while size > budget && self.said.len() > NEWEST + 1 {
            let removed = self.said.remove(1);
            size -= entry_size(&removed).min(size);
            if matches!(removed, Said::Answer(_))
                && matches!(self.said.get(1), Some(Said::Results(_)))
            {
                let results = self.said.remove(1);
                size -= entry_size(&results).min(size);
            }
            shortened = true;
        }
        shortened
    }

    fn size(&self) -> u64 {
        self.said.iter().map(entry_size).sum()
    }
}

/// Takes the long texts out of one entry and returns how many bytes that saved.
fn leave_out(said: &mut Said, shortened: &mut bool) -> u64 {
    let before = entry_size(said);
    match said {
        Said::Prompt(_) => {}
        Said::Results(results) => {
            for result in results.iter_mut().filter(|result| result.text.len() > 2 * LEFT_OUT.len())
            {
                LEFT_OUT.clone_into(&mut result.text);
                *shortened = true;
            }
        }
        Said::Answer(answer) => {
            for input in answer.calls.iter_mut().filter_map(|call| call.input.as_mut().ok()) {
                for value in input.values_mut() {
                    if value.as_str().is_some_and(|text| text.len() > 1024) {
                        *value = Value::String(LEFT_OUT.to_owned());
                        *shortened = true;
                    }
                }
            }
        }
    }
    before - entry_size(said).min(before)
}

fn entry_size(said: &Said) -> u64 {
    let bytes = match said {
        Said::Prompt(text) => text.len(),
        Said::Results(results) => results.iter().map(|result| result.text.len() + 32).sum(),
        Said::Answer(answer) => {
            let inputs: usize = answer
                .calls
                .iter()
                .map(|call| match &call.input {
                    Ok(input) => {
                        input
                            .iter()
                            .map(|(name, value)| name.len() + value_size(value))
                            .sum::<usize>()
                            + 64
                    }
                    Err(text) => text.len(),
                })
                .sum();
            answer.text.len() + inputs
        }
    };
    bytes as u64
}

fn value_size(value: &Value) -> usize {
    value.as_str().map_or_else(|| value.to_string().len(), str::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(n: usize) -> Said {
        let input =
            serde_json::Map::from_iter([("path".to_owned(), Value::String("x".repeat(2000)))]);
        let call = Call { id: n.to_string(), name: "read".to_owned(), input: Ok(input) };
        Said::Answer(Answer { calls: vec![call], ..Answer::default() })
    }

    fn result(n: usize) -> Said {
        Said::Results(vec![ToolResult { id: n.to_string(), text: "y".repeat(4000), failed: false }])
    }

    fn long() -> Conversation {
        let mut conversation = Conversation::default();
        conversation.push(Said::Prompt("the task".to_owned()));
        for n in 0..50 {
            conversation.push(call(n));
            conversation.push(result(n));
        }
        conversation
    }

    #[test]
    fn a_long_conversation_loses_its_oldest_outputs_first() {
        let mut conversation = long();
        assert!(conversation.shorten(60_000));
        assert!(conversation.size() <= 60_000 * BYTES_PER_TOKEN);
        assert_eq!(conversation.said().len(), 101);
        assert_eq!(conversation.said()[100], result(49));
        assert!(
            matches!(&conversation.said()[2], Said::Results(results) if results[0].text == LEFT_OUT)
        );
        assert!(!conversation.shorten(60_000));
    }

    #[test]
    fn a_very_long_conversation_loses_exchanges_but_neither_the_task_nor_the_newest() {
        let mut conversation = long();
        assert!(conversation.shorten(1));
        let said = conversation.said();
        assert_eq!(said[0], Said::Prompt("the task".to_owned()));
        assert_eq!(said.len(), NEWEST + 1);
        assert_eq!(said.last(), Some(&result(49)));
        // Every result still follows its call.
        for pair in said[1..].chunks(2) {
            match pair {
                [Said::Answer(answer), Said::Results(results)] => {
                    assert_eq!(answer.calls[0].id, results[0].id)
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_call_without_a_result_is_closed() {
        let mut conversation = Conversation::default();
        conversation.push(call(7));
        conversation.close_open_calls("cancelled");
        conversation.close_open_calls("cancelled");
        assert_eq!(
            conversation.said()[1..],
            [Said::Results(vec![ToolResult {
                id: "7".to_owned(),
                text: "cancelled".to_owned(),
                failed: true
            }])]
        );
    }
}
