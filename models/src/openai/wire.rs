//! What a Chat Completions provider may send, read leniently: every field may be absent, null or of another type.
//!
//! A delta and a whole message have the same shape here, so a provider that answers a streaming request with one JSON
//! object needs no code of its own.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

#[derive(Debug, Deserialize)]
pub(super) struct Completion {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) choices: Option<Vec<Choice>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) usage: Option<Usage>,
    pub(super) error: Option<Value>,
    /// `error` where the object itself is the error, as vLLM sends it.
    pub(super) object: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Choice {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) index: Option<u64>,
    #[serde(default, deserialize_with = "lenient", alias = "message")]
    pub(super) delta: Option<Delta>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) finish_reason: Option<String>,
    /// OpenRouter's place for a failure in mid-stream.
    pub(super) error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Delta {
    /// Text, or a list of typed parts (Mistral).
    pub(super) content: Option<Value>,
    /// DeepSeek, LM Studio, older vLLM.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) reasoning_content: Option<String>,
    /// OpenRouter, Ollama, newer vLLM. Some send both fields with the same text.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) reasoning: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) refusal: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) tool_calls: Option<Vec<CallDelta>>,
    /// The single call of the first version of the interface.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) function_call: Option<Function>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct CallDelta {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) index: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) function: Option<Function>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Function {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) name: Option<String>,
    /// JSON text, or (Ollama's first versions) the object itself.
    pub(super) arguments: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Usage {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) prompt_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) completion_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) prompt_tokens_details: Option<Details>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) completion_tokens_details: Option<Details>,
    /// DeepSeek's name for cached tokens.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Details {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) cached_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) cache_write_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) reasoning_tokens: Option<u64>,
}

impl Function {
    pub(super) fn arguments(self) -> String {
        match self.arguments {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text,
            Some(
                other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)),
            ) => other.to_string(),
        }
    }
}

impl From<Usage> for crate::Usage {
    fn from(usage: Usage) -> Self {
        let prompt = usage.prompt_tokens_details.unwrap_or_default();
        Self {
            prompt_tokens: usage.prompt_tokens.unwrap_or(0),
            completion_tokens: usage.completion_tokens.unwrap_or(0),
            cached_input_tokens: prompt.cached_tokens.or(usage.prompt_cache_hit_tokens),
            cache_write_tokens: prompt.cache_write_tokens,
            reasoning_tokens: usage
                .completion_tokens_details
                .and_then(|details| details.reasoning_tokens),
        }
    }
}

/// The text of a `content` field, and the thinking that Mistral puts beside it.
pub(super) fn content(value: Value) -> (String, String) {
    let (mut thinking, mut text) = (String::new(), String::new());
    match value {
        Value::String(whole) => text = whole,
        Value::Array(parts) => {
            for part in &parts {
                if let Some(piece) = part.get("text").and_then(Value::as_str) {
                    text.push_str(piece);
                }
                let thoughts = part.get("thinking").and_then(Value::as_array);
                for piece in
                    thoughts.into_iter().flatten().filter_map(|part| part.get("text")?.as_str())
                {
                    thinking.push_str(piece);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
    }
    (thinking, text)
}

/// `None` for whatever is not a `T`: one odd field must not cost the answer.
fn lenient<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: serde::de::DeserializeOwned,
    D: Deserializer<'de>,
{
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}
