//! How what a client says about a model becomes the model an agent keeps.
//!
//! V1 has four places to say it: a handle, an `llm_config`, `model_settings`, and single members of the request. They are
//! laid over one another in that order, the last word counting. Looking a handle up may ask a provider, so the caller
//! does it beforehand and hands the result in: the rules here stay pure.

use std::sync::Arc;

use retold_actors::tool::{self, Known};
use retold_events::{
    JsonText, ToolId,
    agent::{EmbeddingConfig as StoredEmbedding, ModelConfig},
};
use retold_models::{EmbeddingInfo, ModelInfo};

use super::{EmbeddingConfig, LlmConfigInput, ModelSettingsInput, Problem, ResponseFormat, json};

/// Tokens an agent may fill at most unless its client says otherwise, however much its model takes.
pub const MAX_DEFAULT_WINDOW: u32 = 128_000;

/// What the server uses where a request names no model.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// Handle of the model.
    pub model: Option<String>,
    /// Handle of the embedding model.
    pub embedding: Option<String>,
}

/// What the handles of a request lead to. Whatever was not asked for or not found is `None`.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The model of `model_handle`.
    pub model: Option<ModelInfo>,
    /// The embedding model of `embedding_handle`.
    pub embedding: Option<EmbeddingInfo>,
    /// See [`small_model`]; `None` when the catalog does not have it.
    pub small_model: Option<String>,
    /// The tools of `tool_names`, apart from those that come with the server.
    pub tools: Vec<Arc<Known>>,
}

impl Found {
    /// The tool that a client names by its name or its id.
    pub(crate) fn tool(&self, asked: &str) -> Option<ToolId> {
        let id = asked.parse::<ToolId>().ok();
        let builtin = id.and_then(tool::by_id).or_else(|| tool::by_name(asked));
        let is_asked = |known: &&Arc<Known>| Some(known.id) == id || known.name == asked;
        builtin.map(|tool| tool.id).or_else(|| self.tools.iter().find(is_asked).map(|it| it.id))
    }
}

/// The handle V1 summarizes with, next to this model. `None`: the agent's own.
#[must_use]
pub fn small_model(info: &ModelInfo) -> Option<&'static str> {
    match info.provider_type {
        "openai" => Some("openai/gpt-5-mini"),
        "anthropic" => Some("anthropic/claude-haiku-4-5"),
        "google_ai" => Some("google_ai/gemini-2.5-flash"),
        _ => None,
    }
}

/// What a request says about its model, from the least to the most specific.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) llm_config: Option<LlmConfigInput>,
    pub(crate) context_window_limit: Option<u32>,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) max_reasoning_tokens: Option<u32>,
    pub(crate) enable_reasoner: Option<bool>,
    pub(crate) model_settings: Option<ModelSettingsInput>,
    pub(crate) parallel_tool_calls: Option<bool>,
    pub(crate) response_format: Option<ResponseFormat>,
}

/// A model as nobody configured it.
pub(crate) fn plain_model(info: &ModelInfo) -> ModelConfig {
    ModelConfig {
        handle: info.handle.clone(),
        model: info.name.clone(),
        display_name: Some(info.name.clone()),
        endpoint_type: info.endpoint_type.to_owned(),
        endpoint: info.endpoint.clone(),
        provider_name: Some(info.provider_name.clone()),
        context_window: info.context_window.min(MAX_DEFAULT_WINDOW),
        max_output_tokens: info.max_output_tokens,
        temperature: None,
        parallel_tool_calls: false,
        enable_reasoner: true,
        reasoning_effort: None,
        max_reasoning_tokens: 0,
        response_format: None,
        other_config: JsonText::empty_object(),
        other_settings: JsonText::empty_object(),
    }
}

impl Wishes {
    /// Lays them over a model.
    ///
    /// # Errors
    /// [`Problem::Invalid`] when the numbers contradict one another.
    pub(crate) fn apply(self, model: &mut ModelConfig) -> Result<(), Problem> {
        let asked_reasoning = self.max_reasoning_tokens;
        if let Some(config) = self.llm_config {
            apply_llm_config(config, model);
        }
        set(&mut model.context_window, self.context_window_limit);
        set_some(&mut model.max_output_tokens, self.max_tokens);
        set(&mut model.max_reasoning_tokens, self.max_reasoning_tokens);
        set(&mut model.enable_reasoner, self.enable_reasoner);
        if let Some(settings) = self.model_settings {
            settings.apply(model);
        }
        set(&mut model.parallel_tool_calls, self.parallel_tool_calls);
        set_some(
            &mut model.response_format,
            self.response_format.map(|format| json::to_text(&format)),
        );
        check(model, asked_reasoning)
    }
}

fn apply_llm_config(config: LlmConfigInput, model: &mut ModelConfig) {
    set(&mut model.context_window, config.context_window);
    set(&mut model.enable_reasoner, config.enable_reasoner);
    set(&mut model.max_reasoning_tokens, config.max_reasoning_tokens);
    set(&mut model.parallel_tool_calls, config.parallel_tool_calls);
    set_some(&mut model.display_name, config.display_name);
    set_some(&mut model.max_output_tokens, config.max_tokens);
    set_some(&mut model.temperature, config.temperature);
    let effort = config.reasoning_effort.map(|effort| effort.word().to_owned());
    set_some(&mut model.reasoning_effort, effort);
    let format = config.response_format.map(|format| json::to_text(&format));
    set_some(&mut model.response_format, format);
    model.other_config = json::to_text(&config.other);
}

fn check(model: &ModelConfig, asked_reasoning: Option<u32>) -> Result<(), Problem> {
    if model.context_window == 0 {
        return Err(Problem::Invalid("context_window_limit is 0; it counts tokens".to_owned()));
    }
    if model.max_output_tokens == Some(0) {
        return Err(Problem::Invalid("max_tokens is 0; leave it out for no bound".to_owned()));
    }
    if let (Some(reasoning), Some(output)) = (asked_reasoning, model.max_output_tokens)
        && reasoning >= output
    {
        return Err(Problem::Invalid(format!(
            "max_reasoning_tokens ({reasoning}) must be less than max_tokens ({output})"
        )));
    }
    Ok(())
}

/// The embedding model to store: the whole form as given, else what a handle leads to, else what a handle says.
///
/// An unknown handle is no error, unlike with models: nothing here makes embeddings yet, and the handle in everybody's
/// first example names a provider that need not be configured.
pub(crate) fn embedding(
    config: Option<EmbeddingConfig>,
    handle: Option<&str>,
    chunk_size: Option<u32>,
    found: Option<&EmbeddingInfo>,
) -> Option<StoredEmbedding> {
    let mut config = config.or_else(|| {
        let handle = handle?;
        Some(found.map_or_else(|| EmbeddingConfig::of_handle(handle), EmbeddingConfig::from))
    })?;
    if chunk_size.is_some() {
        config.embedding_chunk_size = chunk_size;
    }
    Some(StoredEmbedding { handle: config.handle.clone(), config: json::to_text(&config) })
}

fn set<T>(place: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *place = new;
    }
}

fn set_some<T>(place: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *place = new;
    }
}
