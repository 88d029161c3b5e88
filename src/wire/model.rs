//! The models there are, as clients see them in lists.

use retold_models::{EmbeddingInfo, ModelInfo};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ResponseFormat;

/// A model that answers prompts.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Model {
    /// `provider/model`: what an agent's `model` holds.
    pub handle: Option<String>,
    /// The provider's own name of it.
    pub name: String,
    /// The name shown to people.
    pub display_name: Option<String>,
    /// The kind of provider.
    pub provider_type: String,
    /// The configured name of the provider.
    pub provider_name: Option<String>,
    /// `llm`.
    #[schema(value_type = String)]
    pub model_type: &'static str,
    /// As `name`.
    pub model: String,
    /// The kind of endpoint.
    pub model_endpoint_type: String,
    /// The provider's base address; `null` for what is built in.
    pub model_endpoint: Option<String>,
    /// `base`.
    pub provider_category: Option<String>,
    /// Always `null`.
    pub model_wrapper: Option<String>,
    /// Tokens an agent may fill unless it is told otherwise.
    pub context_window: u32,
    /// Always false: thoughts are never asked for as arguments.
    pub put_inner_thoughts_in_kwargs: Option<bool>,
    /// Sampling temperature unless an agent sets one.
    pub temperature: f64,
    /// Tokens of one answer, at most.
    pub max_tokens: Option<u32>,
    /// Whether it reasons by itself.
    pub enable_reasoner: bool,
    /// Always `null`.
    pub reasoning_effort: Option<String>,
    /// Always 0.
    pub max_reasoning_tokens: u32,
    /// Always `null`.
    pub effort: Option<String>,
    /// Always `null`.
    pub frequency_penalty: Option<f64>,
    /// Always `null`.
    pub compatibility_type: Option<String>,
    /// Always `null`.
    pub verbosity: Option<String>,
    /// Always `null`.
    pub tier: Option<String>,
    /// Always false: agents decide.
    pub parallel_tool_calls: Option<bool>,
    /// Always `null`.
    pub response_format: Option<ResponseFormat>,
    /// Always false.
    pub strict: bool,
    /// Always false.
    pub return_logprobs: bool,
    /// Always `null`.
    pub top_logprobs: Option<u32>,
    /// Always false.
    pub return_token_ids: bool,
    /// Always `null`.
    pub tool_call_parser: Option<String>,
    /// Tokens of prompt and answer together, as the provider says.
    pub max_context_window: u32,
}

impl From<&ModelInfo> for Model {
    fn from(info: &ModelInfo) -> Self {
        Self {
            handle: Some(info.handle.clone()),
            name: info.name.clone(),
            display_name: Some(info.name.clone()),
            provider_type: info.provider_type.to_owned(),
            provider_name: Some(info.provider_name.clone()),
            model_type: "llm",
            model: info.name.clone(),
            model_endpoint_type: info.endpoint_type.to_owned(),
            model_endpoint: info.endpoint.clone(),
            provider_category: Some("base".to_owned()),
            model_wrapper: None,
            context_window: info.context_window,
            put_inner_thoughts_in_kwargs: Some(false),
            temperature: 1.0,
            max_tokens: info.max_output_tokens,
            enable_reasoner: info.native_reasoning,
            reasoning_effort: None,
            max_reasoning_tokens: 0,
            effort: None,
            frequency_penalty: None,
            compatibility_type: None,
            verbosity: None,
            tier: None,
            parallel_tool_calls: Some(false),
            response_format: None,
            strict: false,
            return_logprobs: false,
            top_logprobs: None,
            return_token_ids: false,
            tool_call_parser: None,
            max_context_window: info.context_window,
        }
    }
}

/// A model that makes embeddings.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EmbeddingModel {
    /// `provider/model`.
    pub handle: Option<String>,
    /// The provider's own name of it.
    pub name: String,
    /// The name shown to people.
    pub display_name: String,
    /// The kind of provider.
    pub provider_type: String,
    /// The configured name of the provider.
    pub provider_name: String,
    /// `embedding`.
    #[schema(value_type = String)]
    pub model_type: &'static str,
    /// The kind of endpoint.
    pub embedding_endpoint_type: String,
    /// The provider's base address.
    pub embedding_endpoint: Option<String>,
    /// As `name`.
    pub embedding_model: String,
    /// Numbers in a vector.
    pub embedding_dim: u32,
    /// Tokens of a piece of text.
    pub embedding_chunk_size: Option<u32>,
    /// Texts per request.
    pub batch_size: u32,
    /// Always `null`.
    pub azure_endpoint: Option<String>,
    /// Always `null`.
    pub azure_version: Option<String>,
    /// Always `null`.
    pub azure_deployment: Option<String>,
}

impl From<&EmbeddingInfo> for EmbeddingModel {
    fn from(info: &EmbeddingInfo) -> Self {
        Self {
            handle: Some(info.handle.clone()),
            name: info.name.clone(),
            display_name: info.display_name.clone(),
            provider_type: info.provider_type.to_owned(),
            provider_name: info.provider_name.clone(),
            model_type: "embedding",
            embedding_endpoint_type: info.endpoint_type.to_owned(),
            embedding_endpoint: Some(info.endpoint.clone()),
            embedding_model: info.name.clone(),
            embedding_dim: info.dim,
            embedding_chunk_size: Some(info.chunk_size),
            batch_size: info.batch_size,
            azure_endpoint: None,
            azure_version: None,
            azure_deployment: None,
        }
    }
}

/// The embedding model of an agent. Kept for the client: nothing here makes embeddings yet.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EmbeddingConfig {
    /// The kind of endpoint.
    pub embedding_endpoint_type: String,
    /// The provider's base address.
    #[serde(default)]
    pub embedding_endpoint: Option<String>,
    /// The provider's own name of the model.
    pub embedding_model: String,
    /// Numbers in a vector.
    pub embedding_dim: u32,
    /// Tokens of a piece of text.
    #[serde(default = "default_chunk_size")]
    pub embedding_chunk_size: Option<u32>,
    /// `provider/model`.
    #[serde(default)]
    pub handle: Option<String>,
    /// Texts per request.
    #[serde(default = "default_batch_size")]
    pub batch_size: u32,
    /// What else the client gave: `azure_endpoint` and the like.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub other: Map<String, Value>,
}

const fn default_chunk_size() -> Option<u32> {
    Some(300)
}

const fn default_batch_size() -> u32 {
    32
}

impl From<&EmbeddingInfo> for EmbeddingConfig {
    fn from(info: &EmbeddingInfo) -> Self {
        Self {
            embedding_endpoint_type: info.endpoint_type.to_owned(),
            embedding_endpoint: Some(info.endpoint.clone()),
            embedding_model: info.name.clone(),
            embedding_dim: info.dim,
            embedding_chunk_size: Some(info.chunk_size),
            handle: Some(info.handle.clone()),
            batch_size: info.batch_size,
            other: azure_members(),
        }
    }
}

impl EmbeddingConfig {
    /// What is known of an embedding model by its handle alone.
    #[must_use]
    pub fn of_handle(handle: &str) -> Self {
        let (provider, name) = handle.split_once('/').unwrap_or(("openai", handle));
        Self {
            embedding_endpoint_type: provider.to_owned(),
            embedding_endpoint: None,
            embedding_model: name.to_owned(),
            embedding_dim: 1536,
            embedding_chunk_size: default_chunk_size(),
            handle: Some(handle.to_owned()),
            batch_size: default_batch_size(),
            other: azure_members(),
        }
    }
}

fn azure_members() -> Map<String, Value> {
    ["azure_endpoint", "azure_version", "azure_deployment"]
        .into_iter()
        .map(|name| (name.to_owned(), Value::Null))
        .collect()
}
