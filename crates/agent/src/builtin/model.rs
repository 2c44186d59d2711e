//! The model at the other side of the door: one call, tried again while that makes sense.

mod anthropic;
mod chat;
mod http;

use std::time::Duration;

use serde_json::Value;

use super::conversation::{Answer, Conversation};
use super::{Limits, Options};
use crate::clip;

pub(super) use http::check_address;

/// Which API a model is reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Anthropic Messages.
    AnthropicMessages,
    /// OpenAI Chat Completions, which most local servers speak too.
    OpenAiChat,
}

impl Api {
    /// The API for a model and the model's name without a prefix. `anthropic:` and `openai:` decide;
    /// else names that begin with `claude` are Anthropic's.
    pub fn for_model(model: &str) -> (Self, String) {
        match model.split_once(':') {
            Some(("anthropic", name)) => (Self::AnthropicMessages, name.to_owned()),
            Some(("openai", name)) => (Self::OpenAiChat, name.to_owned()),
            _ if model.starts_with("claude") => (Self::AnthropicMessages, model.to_owned()),
            _ => (Self::OpenAiChat, model.to_owned()),
        }
    }
}

/// A tool as a model is told of it.
pub(super) struct Offer {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// The JSON Schema of its input.
    pub(super) schema: Value,
}

/// Why there was no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The conversation is longer than the model takes.
    TooLong(String),
    /// Anything else, for people.
    Other(String),
}

/// The most bytes of a provider's error that are quoted.
const QUOTE: usize = 1000;

/// Calls the model.
pub(super) struct Model {
    options: Options,
}

impl Model {
    pub(super) fn new(options: Options) -> Self {
        Self { options }
    }

    /// The model's answer to the conversation. `retrying` hears of each failed try.
    pub(super) async fn answer(
        &self,
        system: &str,
        conversation: &Conversation,
        offers: &[Offer],
        mut retrying: impl FnMut(&str),
    ) -> Result<Answer, Failure> {
        let limits = &self.options.limits;
        let mut attempt = 1;
        loop {
            let problem = match self.once(system, conversation, offers).await {
                Ok(answer) => return Ok(answer),
                Err(problem) => problem,
            };
            let Problem { text, again, wait } = problem;
            match again {
                Again::No => return Err(Failure::Other(text)),
                Again::Shorter => return Err(Failure::TooLong(text)),
                Again::Yes if attempt >= limits.tries => {
                    return Err(Failure::Other(format!("{text} (tried {attempt} times)")));
                }
                Again::Yes => {
                    let pause = pause(limits, attempt, wait);
                    retrying(&format!("{text}; trying again in {} s", pause.as_secs_f32()));
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn once(
        &self,
        system: &str,
        conversation: &Conversation,
        offers: &[Offer],
    ) -> Result<Answer, Problem> {
        let options = &self.options;
        let (path, headers, body) = match options.api {
            Api::AnthropicMessages => {
                let body = anthropic::request(options, system, conversation, offers);
                ("/v1/messages", vec![("anthropic-version", "2023-06-01")], body)
            }
            Api::OpenAiChat => {
                ("/chat/completions", vec![], chat::request(options, system, conversation, offers))
            }
        };
        let url = format!("{}{path}", options.base_url);
        let call = http::post(&url, &headers, body.to_string());
        let response = match tokio::time::timeout(options.limits.call, call).await {
            Ok(response) => response.map_err(|text| {
                Problem::again(format!("the model door can't be reached: {text}"))
            })?,
            Err(_) => {
                let seconds = options.limits.call.as_secs();
                return Err(Problem::again(format!("the model did not answer within {seconds} s")));
            }
        };
        if response.status != 200 {
            return Err(refused(&response));
        }
        let answer: Value = serde_json::from_slice(&response.body).map_err(|error| {
            Problem::again(format!(
                "the model's answer is no JSON ({error}): {}",
                clip::printable(&response.body, 200)
            ))
        })?;
        match options.api {
            Api::AnthropicMessages => anthropic::answer(&answer),
            Api::OpenAiChat => chat::answer(&answer),
        }
        .map_err(Problem::again)
    }
}

/// Why one try failed.
struct Problem {
    text: String,
    again: Again,
    /// How long the provider asks to wait.
    wait: Option<Duration>,
}

enum Again {
    Yes,
    No,
    Shorter,
}

impl Problem {
    fn again(text: String) -> Self {
        Self { text, again: Again::Yes, wait: None }
    }
}

fn refused(response: &http::Response) -> Problem {
    let said = provider_message(&response.body);
    let text = format!("the model door answered {}: {said}", response.status);
    let lower = said.to_lowercase();
    let too_long = [
        "prompt is too long",
        "context_length",
        "context length",
        "too many tokens",
        "context window",
    ];
    let again = match response.status {
        400 | 413 if too_long.iter().any(|words| lower.contains(words)) => Again::Shorter,
        408 | 409 | 425 | 429 | 500..=599 => Again::Yes,
        _ => Again::No,
    };
    Problem { text, again, wait: response.retry_after }
}

/// The message in a provider's error, or the body's beginning.
fn provider_message(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = value["error"]["message"]
        .as_str()
        .or_else(|| value["error"].as_str())
        .or_else(|| value["detail"].as_str())
        .or_else(|| value["message"].as_str());
    clip::printable(message.map_or(body, str::as_bytes), QUOTE)
}

fn pause(limits: &Limits, attempt: u32, asked: Option<Duration>) -> Duration {
    let own = limits.pause.saturating_mul(2_u32.saturating_pow(attempt - 1));
    own.max(asked.unwrap_or_default()).min(limits.longest_pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_obey_the_provider_and_end_somewhere() {
        let limits = Limits::default();
        assert_eq!(pause(&limits, 1, None), Duration::from_secs(1));
        assert_eq!(pause(&limits, 4, None), Duration::from_secs(8));
        assert_eq!(pause(&limits, 1, Some(Duration::from_secs(20))), Duration::from_secs(20));
        assert_eq!(pause(&limits, 40, Some(Duration::from_secs(9000))), limits.longest_pause);
    }

    #[test]
    fn an_error_is_tried_again_only_where_that_can_help() {
        let problem = |status, body: &str| {
            refused(&http::Response {
                status,
                retry_after: None,
                body: body.as_bytes().to_vec().into(),
            })
        };
        assert!(matches!(problem(529, "{}").again, Again::Yes));
        assert!(matches!(problem(429, "{}").again, Again::Yes));
        assert!(matches!(problem(401, "{}").again, Again::No));
        assert!(matches!(problem(400, "{}").again, Again::No));
        let long = r#"{"error":{"message":"prompt is too long: 9 > 8"}}"#;
        assert!(matches!(problem(400, long).again, Again::Shorter));
        assert_eq!(
            problem(400, long).text,
            "the model door answered 400: prompt is too long: 9 > 8"
        );
        assert_eq!(problem(402, "no\nmoney").text, "the model door answered 402: no\\nmoney");
    }
}
