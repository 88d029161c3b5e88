//! The model of an agent as `model_settings`: the newer of V1's two forms, a union over the kinds of provider.
//!
//! One type stands for the whole union: what all kinds have, what means something here, and everything else as it came.
//! So settings of a kind nobody here has heard of are kept and given back rather than refused.

use retold_events::agent::ModelConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{ReasoningEffort, ResponseFormat, json as text};

/// Settings of a model, as they are answered. Kinds of provider have further members.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ModelSettings {
    /// Tokens of one answer, at most.
    pub max_output_tokens: u32,
    /// Whether one answer may hold several calls.
    pub parallel_tool_calls: bool,
    /// The kind of provider.
    pub provider_type: String,
    /// Sampling temperature.
    pub temperature: f64,
    /// The form of answers.
    pub response_format: Option<ResponseFormat>,
    /// `reasoning` for OpenAI, `thinking` for Anthropic, `strict`, and whatever else the client gave.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub more: Map<String, Value>,
}

/// Tokens of one answer when nobody says otherwise and the model's own bound is not known.
const DEFAULT_OUTPUT_TOKENS: u32 = 4096;

impl From<&ModelConfig> for ModelSettings {
    /// Derived anew on each read, as V1 does: the settings of a model nobody configured are not stored.
    fn from(model: &ModelConfig) -> Self {
        let mut given = text::map_of(&model.other_settings);
        let of_endpoint = match model.endpoint_type.as_str() {
            "lmstudio-chatcompletions" => "lmstudio_openai",
            other => other,
        };
        let provider_type = match given.remove("provider_type") {
            Some(Value::String(given)) => given,
            _ => of_endpoint.to_owned(),
        };
        // V1 answers `true` here unless the client said otherwise, whatever the older form says.
        let parallel_tool_calls = match given.remove("parallel_tool_calls") {
            Some(Value::Bool(_)) => model.parallel_tool_calls,
            _ => true,
        };
        let mut more = Map::new();
        match provider_type.as_str() {
            "openai" | "sglang" => {
                let effort = model.reasoning_effort.as_deref().unwrap_or("minimal");
                more.insert("reasoning".into(), json!({ "reasoning_effort": effort }));
                more.insert("strict".into(), false.into());
            }
            "anthropic" => {
                more.insert("thinking".into(), thinking(model));
                more.insert("verbosity".into(), Value::Null);
                more.insert("effort".into(), Value::Null);
                more.insert("strict".into(), false.into());
            }
            _ => {}
        }
        more.extend(given);
        Self {
            max_output_tokens: model.max_output_tokens.unwrap_or(DEFAULT_OUTPUT_TOKENS),
            parallel_tool_calls,
            provider_type,
            temperature: model.temperature.unwrap_or(1.0),
            response_format: model.response_format.as_ref().and_then(text::from_text),
            more,
        }
    }
}

fn thinking(model: &ModelConfig) -> Value {
    let kind = if model.enable_reasoner { "enabled" } else { "disabled" };
    let budget = if model.max_reasoning_tokens == 0 { 1024 } else { model.max_reasoning_tokens };
    json!({ "type": kind, "budget_tokens": budget })
}

/// Settings of a model, as a client gives them. Only what is given changes anything.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct ModelSettingsInput {
    /// Tokens of one answer, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// Whether one answer may hold several calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    /// Sampling temperature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// OpenAI's way of reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<OpenAiReasoning>,
    /// Anthropic's way of reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<AnthropicThinking>,
    /// Google's way of reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_config: Option<GeminiThinkingConfig>,
    /// The form of answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat>,
    /// The form of answers, in Google's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_schema: Option<ResponseFormat>,
    /// `provider_type` and the rest, kept for the client.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub other: Map<String, Value>,
}

/// OpenAI's way of reasoning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = OpenAIReasoning)]
pub struct OpenAiReasoning {
    /// How hard.
    pub reasoning_effort: Option<ReasoningEffort>,
}

/// Anthropic's way of reasoning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnthropicThinking {
    /// `enabled|disabled`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Thinking budget in tokens.
    pub budget_tokens: Option<u32>,
}

/// Google's way of reasoning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GeminiThinkingConfig {
    /// Whether thoughts are shown.
    pub include_thoughts: Option<bool>,
    /// Thinking budget in tokens.
    pub thinking_budget: Option<u32>,
}

impl ModelSettingsInput {
    /// Overlays a model with what was given.
    pub fn apply(self, model: &mut ModelConfig) {
        let mut other = text::map_of(&model.other_settings);
        if let Some(max) = self.max_output_tokens {
            model.max_output_tokens = Some(max);
        }
        if let Some(parallel) = self.parallel_tool_calls {
            model.parallel_tool_calls = parallel;
            other.insert("parallel_tool_calls".into(), parallel.into());
        }
        if let Some(temperature) = self.temperature {
            model.temperature = Some(temperature);
        }
        if let Some(effort) = self.reasoning.and_then(|reasoning| reasoning.reasoning_effort) {
            model.reasoning_effort = Some(effort.word().to_owned());
        }
        if let Some(thinking) = &self.thinking {
            if let Some(kind) = &thinking.kind {
                model.enable_reasoner = kind != "disabled";
            }
            model.max_reasoning_tokens =
                thinking.budget_tokens.unwrap_or(model.max_reasoning_tokens);
        }
        if let Some(config) = &self.thinking_config {
            model.max_reasoning_tokens =
                config.thinking_budget.unwrap_or(model.max_reasoning_tokens);
            other.insert("thinking_config".into(), json!(config));
        }
        if let Some(format) = self.response_format.or(self.response_schema) {
            model.response_format = Some(text::to_text(&format));
        }
        other.extend(self.other.into_iter().filter(|(_, value)| !value.is_null()));
        model.other_settings = text::to_text(&other);
    }
}
