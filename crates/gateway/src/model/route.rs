//! Which call a path means. What is not listed here is refused: with the operator's key behind it, a
//! door that passed everything would let an agent read files, batches or stored answers of others.

use http::Method;
use serde::{Deserialize, Serialize};

/// A family of calls that one provider answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// Anthropic.
    Anthropic,
    /// OpenAI, and the many that speak like it.
    Openai,
    /// Google's Generative Language API.
    Gemini,
}

impl Api {
    /// The format that the API's newer calls have.
    pub(super) fn usual_wire(self) -> Wire {
        match self {
            Self::Anthropic => Wire::AnthropicMessages,
            Self::Openai => Wire::OpenaiResponses,
            Self::Gemini => Wire::GeminiContent,
        }
    }
}

/// The format of a generating call and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// `POST /v1/messages`.
    AnthropicMessages,
    /// `POST /v1/responses`.
    OpenaiResponses,
    /// `POST /v1/chat/completions`.
    OpenaiChat,
    /// `POST /v1beta/models/…:generateContent` and `:streamGenerateContent`.
    GeminiContent,
}

impl Wire {
    /// The API that the format belongs to.
    pub fn api(self) -> Api {
        match self {
            Self::AnthropicMessages => Api::Anthropic,
            Self::OpenaiResponses | Self::OpenaiChat => Api::Openai,
            Self::GeminiContent => Api::Gemini,
        }
    }
}

/// What a call is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Makes the model answer; metered. Gemini names model and streaming in the path, the others in
    /// the body.
    Generate {
        /// The format.
        wire: Wire,
        /// Gemini's model.
        model: Option<String>,
        /// Gemini's choice of streaming.
        stream: Option<bool>,
    },
    /// Counts the tokens of a prompt; costs nothing.
    CountTokens,
    /// Lists models, or describes one.
    Models,
    /// A client asks whether anyone is there.
    Alive,
}

/// A call that is let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) api: Api,
    pub(super) purpose: Purpose,
    /// The path below the provider's base URL, with its leading slash.
    pub(super) path: String,
}

/// Reads method and path. `anthropic` says that the client sent that API's version header, which
/// tells apart the model lists at the root. `Err` names the API whose form an error should have.
pub(super) fn route(method: &Method, path: &str, anthropic: bool) -> Result<Route, Api> {
    // A dot segment or an escape may mean another path to the provider than it does here.
    let odd = path.split('/').any(|part| part == "." || part == "..")
        || path.contains(['%', '\\'])
        || path.contains("//");
    let (api, rest) = family(path, anthropic);
    if odd {
        return Err(api);
    }
    let purpose = if matches!(rest, "" | "/") && (method == Method::HEAD || method == Method::GET) {
        Some(Purpose::Alive)
    } else {
        match api {
            Api::Anthropic => anthropic_purpose(method, rest),
            Api::Openai => openai_purpose(method, rest),
            Api::Gemini => gemini_purpose(method, rest),
        }
    };
    let path = match api {
        // The base URL of OpenAI's clients ends in /v1.
        Api::Openai => rest.strip_prefix("/v1").unwrap_or(rest),
        Api::Anthropic | Api::Gemini => rest,
    };
    purpose.map(|purpose| Route { api, purpose, path: path.to_owned() }).ok_or(api)
}

fn family(path: &str, anthropic: bool) -> (Api, &str) {
    for (prefix, api) in
        [("/anthropic", Api::Anthropic), ("/openai", Api::Openai), ("/gemini", Api::Gemini)]
    {
        if let Some(rest) = path.strip_prefix(prefix)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return (api, rest);
        }
    }
    let api = if path.starts_with("/v1beta/") || path.starts_with("/v1alpha/") || path.contains(':')
    {
        Api::Gemini
    } else if path.starts_with("/v1/messages") || anthropic || path == "/" {
        Api::Anthropic
    } else {
        Api::Openai
    };
    (api, path)
}

fn anthropic_purpose(method: &Method, path: &str) -> Option<Purpose> {
    match (method, path) {
        (&Method::POST, "/v1/messages") => Some(generate(Wire::AnthropicMessages)),
        (&Method::POST, "/v1/messages/count_tokens") => Some(Purpose::CountTokens),
        (&Method::GET, path) => models(path, "/v1/models"),
        _ => None,
    }
}

fn openai_purpose(method: &Method, path: &str) -> Option<Purpose> {
    match (method, path) {
        (&Method::POST, "/v1/responses" | "/v1/responses/compact") => {
            Some(generate(Wire::OpenaiResponses))
        }
        (&Method::POST, "/v1/chat/completions") => Some(generate(Wire::OpenaiChat)),
        (&Method::POST, "/v1/responses/input_tokens") => Some(Purpose::CountTokens),
        (&Method::GET, path) => models(path, "/v1/models"),
        _ => None,
    }
}

fn gemini_purpose(method: &Method, path: &str) -> Option<Purpose> {
    let rest = ["/v1beta/models", "/v1alpha/models", "/v1/models"]
        .iter()
        .find_map(|base| path.strip_prefix(base))?;
    if method == Method::GET {
        return models(path, path.strip_suffix(rest)?);
    }
    let (model, verb) = rest.strip_prefix('/')?.split_once(':')?;
    if method != Method::POST || model.is_empty() || model.contains('/') {
        return None;
    }
    let generate = |stream| Purpose::Generate {
        wire: Wire::GeminiContent,
        model: Some(model.to_owned()),
        stream: Some(stream),
    };
    match verb {
        "generateContent" => Some(generate(false)),
        "streamGenerateContent" => Some(generate(true)),
        "countTokens" => Some(Purpose::CountTokens),
        _ => None,
    }
}

fn generate(wire: Wire) -> Purpose {
    Purpose::Generate { wire, model: None, stream: None }
}

fn models(path: &str, base: &str) -> Option<Purpose> {
    let rest = path.strip_prefix(base)?;
    // Some hosts' model names have one slash in them.
    (rest.is_empty() || rest.starts_with('/')).then_some(Purpose::Models)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_agents_calls_are_understood_below_a_prefix_and_at_the_root() {
        let calls = [
            ("POST", "/anthropic/v1/messages", Api::Anthropic, "/v1/messages"),
            ("POST", "/v1/messages", Api::Anthropic, "/v1/messages"),
            ("POST", "/v1/messages/count_tokens", Api::Anthropic, "/v1/messages/count_tokens"),
            ("HEAD", "/", Api::Anthropic, "/"),
            ("HEAD", "/anthropic", Api::Anthropic, ""),
            ("POST", "/openai/v1/responses", Api::Openai, "/responses"),
            ("POST", "/v1/responses", Api::Openai, "/responses"),
            ("POST", "/openai/v1/chat/completions", Api::Openai, "/chat/completions"),
            ("GET", "/openai/v1/models", Api::Openai, "/models"),
            ("GET", "/v1/models/gpt", Api::Openai, "/models/gpt"),
            (
                "POST",
                "/gemini/v1beta/models/g-2:generateContent",
                Api::Gemini,
                "/v1beta/models/g-2:generateContent",
            ),
            (
                "POST",
                "/v1beta/models/g:streamGenerateContent",
                Api::Gemini,
                "/v1beta/models/g:streamGenerateContent",
            ),
            ("POST", "/v1beta/models/g:countTokens", Api::Gemini, "/v1beta/models/g:countTokens"),
        ];
        for (method, path, api, below) in calls {
            let method: Method = method.parse().expect("a method");
            let route = route(&method, path, false).expect(path);
            assert_eq!((route.api, route.path.as_str()), (api, below), "{path}");
        }
        let models = route(&Method::GET, "/v1/models", true).expect("models");
        assert_eq!(models.api, Api::Anthropic);
    }

    #[test]
    fn what_an_agent_does_not_need_is_refused() {
        let calls = [
            ("GET", "/openai/v1/files"),
            ("GET", "/openai/v1/responses/resp_1"),
            ("DELETE", "/openai/v1/models/x"),
            ("POST", "/openai/v1/responses/../files"),
            ("POST", "/openai/v1/responses/%2e%2e/files"),
            ("POST", "/openai//v1/responses"),
            ("POST", "/anthropic/v1/messages/batches"),
            ("POST", "/anthropicx/v1/messages/"),
            ("POST", "/gemini/v1beta/models/a/b:generateContent"),
            ("POST", "/gemini/v1beta/models/g:batchGenerateContent"),
            ("GET", "/gemini/v1beta/files"),
            ("GET", "/gemini/v1beta/modelsx"),
            ("POST", "/gemini/v1beta/cachedContents"),
        ];
        for (method, path) in calls {
            let method: Method = method.parse().expect("a method");
            assert!(route(&method, path, false).is_err(), "{method} {path} passed");
        }
    }
}
