//! What can be told of a generating call from its request: model, streaming, limits.

use serde::Deserialize;

use super::{meter::Call, route::Wire};

/// The fields of a request that the door reads; everything else passes unread.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) stream: bool,
    /// OpenAI's answer to nobody: it is made and paid for later, and its report never passes here.
    background: Option<bool>,
    /// How many answers OpenAI's chat makes at once.
    n: Option<u64>,
    stream_options: Option<serde_json::Value>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    #[serde(rename = "generationConfig", alias = "generation_config")]
    generation_config: Option<GenerationConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GenerationConfig {
    #[serde(rename = "maxOutputTokens", alias = "max_output_tokens")]
    max_output_tokens: Option<u64>,
    #[serde(rename = "candidateCount", alias = "candidate_count")]
    candidate_count: Option<u64>,
}

impl Asked {
    /// Reads a request's body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// What to reserve for it.
    pub(super) fn call(&self, id: String, wire: Wire, body: &[u8], default_output: u64) -> Call {
        let limit = match wire {
            Wire::AnthropicMessages => self.max_tokens,
            Wire::OpenaiResponses => self.max_output_tokens,
            Wire::OpenaiChat => self.max_completion_tokens.or(self.max_tokens),
            Wire::GeminiContent => {
                self.generation_config.as_ref().and_then(|config| config.max_output_tokens)
            }
        };
        let answers = match wire {
            Wire::AnthropicMessages | Wire::OpenaiResponses => None,
            Wire::OpenaiChat => self.n,
            Wire::GeminiContent => {
                self.generation_config.as_ref().and_then(|config| config.candidate_count)
            }
        };
        Call {
            id,
            wire,
            model: self.model.chars().take(200).collect(),
            input_tokens: (body.len() as u64).div_ceil(3),
            output_tokens: limit
                .unwrap_or(default_output)
                .saturating_mul(answers.unwrap_or(1).max(1)),
        }
    }

    /// Whether the answer would be made where nobody counts it.
    pub(super) fn is_uncounted(&self) -> bool {
        self.background == Some(true)
    }

    /// A streamed chat answer reports its tokens only when asked to.
    pub(super) fn lacks_stream_usage(&self, wire: Wire) -> bool {
        wire == Wire::OpenaiChat && self.stream && self.stream_options.is_none()
    }
}
