//! The built-in agent: `windlass agent`, an ACP agent on standard streams for those who bring only a
//! model. It runs *inside* an environment, in the repository, as an ordinary process: what it may
//! reach is bounded by the environment, not here. It calls a model at the model door over plain HTTP
//! on loopback and holds no key.
//!
//! It has four tools: `read`, `edit`, `exec` and `finish`.

mod conversation;
mod model;
mod session;
mod tools;
mod turn;
mod voice;

pub use model::Api;
pub use session::serve;

use std::time::Duration;

/// How the built-in agent works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which API it speaks.
    pub api: Api,
    /// The base URL of that API at the model door, without a trailing slash.
    pub base_url: String,
    /// The model, by the provider's name.
    pub model: String,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of the built-in agent.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most calls of the model for one prompt.
    pub calls: u32,
    /// The most tokens, sent and received, of the whole session.
    pub tokens: u64,
    /// The most tokens of one answer, where the API wants to be told.
    pub answer_tokens: u32,
    /// How many tokens of conversation the model can take.
    pub context_tokens: u64,
    /// How long one call may take.
    pub call: Duration,
    /// How often a call is tried.
    pub tries: u32,
    /// The pause before the second try; it doubles with each further one.
    pub pause: Duration,
    /// The longest pause, also when the provider asks for a longer one.
    pub longest_pause: Duration,
    /// How long a command may run when the model does not say.
    pub command: Duration,
    /// How long a command may run at most.
    pub longest_command: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 150,
            tokens: 20_000_000,
            answer_tokens: 16_000,
            context_tokens: 180_000,
            call: Duration::from_secs(15 * 60),
            tries: 7,
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(90),
            command: Duration::from_secs(5 * 60),
            longest_command: Duration::from_secs(60 * 60),
        }
    }
}

/// The variables that [`Options::read`] reads; [`crate::known`] sets them.
pub mod variables {
    /// The base URL of Anthropic's API.
    pub const ANTHROPIC_URL: &str = "WINDLASS_AGENT_ANTHROPIC_URL";
    /// The base URL of OpenAI's API.
    pub const OPENAI_URL: &str = "WINDLASS_AGENT_OPENAI_URL";
    /// The model: a name, or `anthropic:NAME` or `openai:NAME` where the name does not say which API
    /// it is reached by.
    pub const MODEL: &str = "WINDLASS_AGENT_MODEL";
}

/// Why the built-in agent could not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is missing or wrong.
    #[error("{0}")]
    Settings(String),
    /// The connection to the client failed.
    #[error("the connection to the ACP client failed: {0}")]
    Connection(String),
}

impl Options {
    /// Reads the options through `lookup`, which knows the process' environment.
    ///
    /// # Errors
    /// [`Error::Settings`] with what is missing and how to give it.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let model =
            lookup(variables::MODEL).filter(|model| !model.is_empty()).ok_or_else(|| {
                Error::Settings(format!(
                    "no model is named: set {} (the runner sets it from `model:`)",
                    variables::MODEL
                ))
            })?;
        let (api, model) = Api::for_model(&model);
        let variable = match api {
            Api::AnthropicMessages => variables::ANTHROPIC_URL,
            Api::OpenAiChat => variables::OPENAI_URL,
        };
        let base_url = lookup(variable).ok_or_else(|| {
            Error::Settings(format!("the address of the model door is not known: set {variable}"))
        })?;
        Self::new(api, &base_url, &model)
    }

    /// Options for `model` at `base_url`.
    ///
    /// # Errors
    /// [`Error::Settings`] if the URL is not plain HTTP on loopback: the only way to a model is the
    /// door, and it is there.
    pub fn new(api: Api, base_url: &str, model: &str) -> Result<Self, Error> {
        let base_url = base_url.trim_end_matches('/').to_owned();
        model::check_address(&base_url).map_err(Error::Settings)?;
        Ok(Self { api, base_url, model: model.to_owned(), limits: Limits::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_says_which_api_it_is_reached_by() {
        let lookup = |model: &'static str| {
            move |name: &str| {
                Some(match name {
                    variables::ANTHROPIC_URL => "http://127.0.0.1:1/anthropic/".to_owned(),
                    variables::OPENAI_URL => "http://localhost:1/openai/v1".to_owned(),
                    _ => model.to_owned(),
                })
            }
        };
        let read = |model| {
            let options = Options::read(lookup(model)).unwrap();
            (options.api, options.base_url, options.model)
        };
        let anthropic = "http://127.0.0.1:1/anthropic".to_owned();
        let openai = "http://localhost:1/openai/v1".to_owned();
        assert_eq!(
            read("claude-x"),
            (Api::AnthropicMessages, anthropic.clone(), "claude-x".to_owned())
        );
        assert_eq!(read("gpt-x"), (Api::OpenAiChat, openai.clone(), "gpt-x".to_owned()));
        assert_eq!(read("anthropic:q:7b"), (Api::AnthropicMessages, anthropic, "q:7b".to_owned()));
        assert_eq!(read("openai:claude-x"), (Api::OpenAiChat, openai, "claude-x".to_owned()));
    }

    #[test]
    fn only_plain_http_on_loopback_is_taken() {
        for url in [
            "https://127.0.0.1/x",
            "http://example.com",
            "http://10.0.0.1:1",
            "ftp://localhost",
            "x",
        ] {
            assert!(Options::new(Api::OpenAiChat, url, "m").is_err(), "{url}");
        }
        for url in ["http://127.0.0.1:4000/openai/v1", "http://[::1]:4000", "http://localhost"] {
            assert!(Options::new(Api::OpenAiChat, url, "m").is_ok(), "{url}");
        }
        assert!(Options::read(|_| None).is_err());
    }
}
