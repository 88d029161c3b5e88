//! The configuration of an agent as the log holds it.

use retold_events::agent::{Compaction, Config, EmbeddingConfig, ModelConfig};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::redact;
use crate::wire::{JsonObject, ToolRule, WireAgentType, WireCompactionMode};

/// Everything about an agent but its memory, its tools and its messages.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StoredConfig {
    /// Its name.
    pub name: String,
    /// Which loop it runs.
    pub agent_type: WireAgentType,
    /// The system prompt before compilation.
    pub system: String,
    /// For people; not shown to the model.
    pub description: Option<String>,
    /// Free JSON of the client; what looks like a credential in it is hidden, as in all free JSON of events.
    pub metadata: Option<JsonObject>,
    /// Labels of the client.
    pub tags: Vec<String>,
    /// The model it speaks with.
    pub model: StoredModel,
    /// The embedding model.
    pub embedding: Option<StoredEmbedding>,
    /// How its history is compacted.
    pub compaction: StoredCompaction,
    /// What orders its tool calls.
    #[schema(value_type = Vec<ToolRule>)]
    pub tool_rules: Vec<JsonObject>,
    /// IANA name of its time zone.
    pub timezone: String,
    /// Whether each run starts with an empty history.
    pub message_buffer_autoclear: bool,
    /// Whether lists leave it out.
    pub hidden: Option<bool>,
    /// Kept for the client.
    pub max_files_open: Option<u64>,
    /// Kept for the client.
    pub per_file_view_window_char_limit: Option<u64>,
    /// Kept for the client.
    pub project_id: Option<String>,
    /// Kept for the client.
    pub template_id: Option<String>,
    /// Kept for the client.
    pub base_template_id: Option<String>,
}

/// The model of an agent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StoredModel {
    /// `provider/model`.
    pub handle: String,
    /// The provider's own name of the model.
    pub model: String,
    /// The name shown to people.
    pub display_name: Option<String>,
    /// The kind of endpoint.
    pub endpoint_type: String,
    /// The provider's base address, without credentials.
    pub endpoint: Option<String>,
    /// The provider's name.
    pub provider_name: Option<String>,
    /// Tokens the agent may fill.
    pub context_window: u32,
    /// Tokens of one answer, at most.
    pub max_output_tokens: Option<u32>,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Whether one answer may hold several calls.
    pub parallel_tool_calls: bool,
    /// Whether the model should reason.
    pub enable_reasoner: bool,
    /// How hard.
    pub reasoning_effort: Option<String>,
    /// Thinking budget in tokens; 0 is none.
    pub max_reasoning_tokens: u32,
    /// The form answers must have.
    pub response_format: Option<JsonObject>,
    /// Members of the client's `llm_config` that mean nothing here.
    pub other_config: JsonObject,
    /// Members of the client's `model_settings` that mean nothing here.
    pub other_settings: JsonObject,
}

/// The embedding model of an agent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StoredEmbedding {
    /// `provider/model`.
    pub handle: Option<String>,
    /// As the client gave it.
    pub config: JsonObject,
}

/// How an agent's history is compacted.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StoredCompaction {
    /// Handle of the model that summarizes; `null` is the agent's own.
    pub model: Option<String>,
    /// What it is asked; `null` is the stock prompt.
    pub prompt: Option<String>,
    /// Whether the summarizer acknowledges first.
    pub prompt_acknowledgement: bool,
    /// Which messages give way.
    pub mode: WireCompactionMode,
    /// Share of the messages that give way at first.
    pub sliding_window_percentage: f64,
    /// Upper bound of the summary, in characters.
    pub clip_chars: Option<u32>,
    /// Settings of the summarizer, kept for the client.
    pub model_settings: Option<JsonObject>,
}

impl From<&Config> for StoredConfig {
    fn from(config: &Config) -> Self {
        Self {
            name: config.name.clone(),
            agent_type: config.agent_type.into(),
            system: config.system.clone(),
            description: config.description.clone(),
            metadata: config.metadata.as_ref().map(redact::json),
            tags: config.tags.clone(),
            model: (&config.model).into(),
            embedding: config.embedding.as_ref().map(StoredEmbedding::from),
            compaction: (&config.compaction).into(),
            tool_rules: config.tool_rules.iter().map(rule).collect(),
            timezone: config.timezone.clone(),
            message_buffer_autoclear: config.message_buffer_autoclear,
            hidden: config.hidden,
            max_files_open: config.max_files_open,
            per_file_view_window_char_limit: config.per_file_view_window_char_limit,
            project_id: config.project_id.clone(),
            template_id: config.template_id.clone(),
            base_template_id: config.base_template_id.clone(),
        }
    }
}

/// A rule as clients write it; it may hold arguments of tools.
fn rule(rule: &retold_events::agent::ToolRule) -> JsonObject {
    let mut shown = json!(ToolRule::from(rule));
    redact::redact(&mut shown);
    JsonObject::of(&shown)
}

impl From<&ModelConfig> for StoredModel {
    fn from(model: &ModelConfig) -> Self {
        Self {
            handle: model.handle.clone(),
            model: model.model.clone(),
            display_name: model.display_name.clone(),
            endpoint_type: model.endpoint_type.clone(),
            endpoint: model.endpoint.as_deref().map(redact::url),
            provider_name: model.provider_name.clone(),
            context_window: model.context_window,
            max_output_tokens: model.max_output_tokens,
            temperature: model.temperature,
            parallel_tool_calls: model.parallel_tool_calls,
            enable_reasoner: model.enable_reasoner,
            reasoning_effort: model.reasoning_effort.clone(),
            max_reasoning_tokens: model.max_reasoning_tokens,
            response_format: model.response_format.as_ref().map(redact::json),
            other_config: redact::json(&model.other_config),
            other_settings: redact::json(&model.other_settings),
        }
    }
}

impl From<&EmbeddingConfig> for StoredEmbedding {
    fn from(embedding: &EmbeddingConfig) -> Self {
        Self { handle: embedding.handle.clone(), config: redact::json(&embedding.config) }
    }
}

impl From<&Compaction> for StoredCompaction {
    fn from(compaction: &Compaction) -> Self {
        Self {
            model: compaction.model.clone(),
            prompt: compaction.prompt.clone(),
            prompt_acknowledgement: compaction.prompt_acknowledgement,
            mode: compaction.mode.into(),
            sliding_window_percentage: compaction.sliding_window_percentage,
            clip_chars: compaction.clip_chars,
            model_settings: compaction.model_settings.as_ref().map(redact::json),
        }
    }
}
