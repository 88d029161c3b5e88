//! The model of an agent as `llm_config`: the older of V1's two forms, and the fuller one.

use retold_events::agent::{AgentType, ModelConfig};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ResponseFormat, json};

/// The model of an agent.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = LLMConfig)]
pub struct LlmConfig {
    /// The provider's own name of the model.
    pub model: String,
    /// The name shown to people.
    pub display_name: Option<String>,
    /// The kind of endpoint.
    pub model_endpoint_type: String,
    /// The provider's base address.
    pub model_endpoint: Option<String>,
    /// The provider's name.
    pub provider_name: Option<String>,
    /// `base`, or what the client gave.
    pub provider_category: Option<String>,
    /// Kept for the client.
    pub model_wrapper: Option<String>,
    /// Tokens the agent may fill, at most.
    pub context_window: u32,
    /// Whether thoughts are asked for as an argument of each call.
    pub put_inner_thoughts_in_kwargs: Option<bool>,
    /// `provider/model`.
    pub handle: Option<String>,
    /// Sampling temperature; 1 when nobody set one.
    pub temperature: f64,
    /// Tokens of one answer, at most.
    pub max_tokens: Option<u32>,
    /// Whether the model should reason.
    pub enable_reasoner: bool,
    /// `none|minimal|low|medium|high|xhigh`.
    pub reasoning_effort: Option<String>,
    /// Thinking budget in tokens; 0 is none.
    pub max_reasoning_tokens: u32,
    /// Kept for the client.
    pub effort: Option<String>,
    /// Kept for the client.
    pub frequency_penalty: Option<f64>,
    /// Kept for the client.
    pub compatibility_type: Option<String>,
    /// Kept for the client.
    pub verbosity: Option<String>,
    /// Kept for the client.
    pub tier: Option<String>,
    /// Whether one answer may hold several calls.
    pub parallel_tool_calls: Option<bool>,
    /// The form of answers.
    pub response_format: Option<ResponseFormat>,
    /// Kept for the client.
    pub strict: bool,
    /// Kept for the client.
    pub return_logprobs: bool,
    /// Kept for the client.
    pub top_logprobs: Option<u32>,
    /// Kept for the client.
    pub return_token_ids: bool,
    /// Kept for the client.
    pub tool_call_parser: Option<String>,
}

impl LlmConfig {
    /// The stored model as it is answered.
    #[must_use]
    pub fn new(model: &ModelConfig, agent_type: AgentType) -> Self {
        let other: OtherConfig = json::from_text(&model.other_config).unwrap_or_default();
        let inner_thoughts = match agent_type {
            AgentType::LettaV1 => false,
            AgentType::Memgpt | AgentType::MemgptV2 => {
                other.put_inner_thoughts_in_kwargs.unwrap_or(false)
            }
        };
        Self {
            model: model.model.clone(),
            display_name: model.display_name.clone(),
            model_endpoint_type: model.endpoint_type.clone(),
            model_endpoint: model.endpoint.clone(),
            provider_name: model.provider_name.clone(),
            provider_category: other.provider_category.or_else(|| Some("base".to_owned())),
            model_wrapper: other.model_wrapper,
            context_window: model.context_window,
            put_inner_thoughts_in_kwargs: Some(inner_thoughts),
            handle: Some(model.handle.clone()),
            temperature: model.temperature.unwrap_or(1.0),
            max_tokens: model.max_output_tokens,
            enable_reasoner: model.enable_reasoner,
            reasoning_effort: model.reasoning_effort.clone(),
            max_reasoning_tokens: model.max_reasoning_tokens,
            effort: other.effort,
            frequency_penalty: other.frequency_penalty,
            compatibility_type: other.compatibility_type,
            verbosity: other.verbosity,
            tier: other.tier,
            parallel_tool_calls: Some(model.parallel_tool_calls),
            response_format: model.response_format.as_ref().and_then(json::from_text),
            strict: other.strict.unwrap_or(false),
            return_logprobs: other.return_logprobs.unwrap_or(false),
            top_logprobs: other.top_logprobs,
            return_token_ids: other.return_token_ids.unwrap_or(false),
            tool_call_parser: other.tool_call_parser,
        }
    }
}

/// The model a client wants, in the older form.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[schema(as = LLMConfigInput)]
pub struct LlmConfigInput {
    /// The provider's own name of the model.
    #[serde(default)]
    pub model: String,
    /// The name shown to people.
    pub display_name: Option<String>,
    /// The kind of endpoint. Only a hint for finding the model: the configured provider decides.
    pub model_endpoint_type: Option<String>,
    /// Without meaning here: the configured provider has its own address.
    pub model_endpoint: Option<String>,
    /// The provider's name.
    pub provider_name: Option<String>,
    /// Tokens the agent may fill, at most.
    pub context_window: Option<u32>,
    /// `provider/model`.
    pub handle: Option<String>,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Tokens of one answer, at most.
    pub max_tokens: Option<u32>,
    /// Whether the model should reason.
    pub enable_reasoner: Option<bool>,
    /// `none|minimal|low|medium|high|xhigh`.
    pub reasoning_effort: Option<ReasoningEffort>,
    /// Thinking budget in tokens.
    pub max_reasoning_tokens: Option<u32>,
    /// Whether one answer may hold several calls.
    pub parallel_tool_calls: Option<bool>,
    /// The form of answers.
    pub response_format: Option<ResponseFormat>,
    /// The rest.
    #[serde(flatten)]
    pub other: OtherConfig,
}

impl LlmConfigInput {
    /// The handle to look the model up by: as given, or made of the provider's name and the model's.
    #[must_use]
    pub fn wanted_handle(&self) -> String {
        if let Some(handle) = self.handle.as_deref().filter(|handle| !handle.is_empty()) {
            return handle.to_owned();
        }
        match self.provider_name.as_deref().or(self.model_endpoint_type.as_deref()) {
            Some(provider) if !provider.is_empty() => format!("{provider}/{}", self.model),
            _ => self.model.clone(),
        }
    }
}

/// Members of an `llm_config` that mean nothing here and are kept for the client.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = LLMConfigOther)]
pub struct OtherConfig {
    /// Kept for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_category: Option<String>,
    /// Kept for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_wrapper: Option<String>,
    /// Kept for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub put_inner_thoughts_in_kwargs: Option<bool>,
    /// Kept for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,
    /// Kept for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// Kept for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compatibility_type: Option<String>,
    /// Kept for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbosity: Option<String>,
    /// Kept for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Kept for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    /// Kept for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_logprobs: Option<bool>,
    /// Kept for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<u32>,
    /// Kept for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_token_ids: Option<bool>,
    /// Kept for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_parser: Option<String>,
}

/// How hard a model should think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReasoningEffort {
    /// Not at all.
    None,
    /// Barely.
    Minimal,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// As much as it can.
    XHigh,
}

impl ReasoningEffort {
    /// The word, as it is stored and sent.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
        }
    }
}
