//! Changing an agent: what is absent or `null` stays, lists replace wholly.

use retold_actors::agent::Patch;
use retold_events::{
    BlockId, MessageId, ToolId,
    agent::{Config, ModelConfig},
};
use retold_snapshots::agent::State;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    CompactionSettingsInput, EmbeddingConfig, Found, Id, LlmConfigInput, ModelSettingsInput,
    Problem, ResponseFormat, SecretValues, ToolRule,
    create_agent::{
        check_name, check_none, check_off, check_timezone, known_tools, wanted_model,
        without_repeats,
    },
    json,
    model_choice::{Wishes, embedding, plain_model},
    stored_rules, tags,
};

/// Changes of an agent.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct UpdateAgent {
    /// Its name.
    pub name: Option<String>,
    /// All its tools.
    #[schema(value_type = Option<Vec<String>>)]
    pub tool_ids: Option<Vec<Id<ToolId>>>,
    /// Refused unless empty.
    pub source_ids: Option<Vec<String>>,
    /// Refused unless empty.
    pub folder_ids: Option<Vec<String>>,
    /// All its blocks.
    #[schema(value_type = Option<Vec<String>>)]
    pub block_ids: Option<Vec<Id<BlockId>>>,
    /// All its tags.
    pub tags: Option<Vec<String>>,
    /// The system prompt.
    pub system: Option<String>,
    /// All its tool rules.
    pub tool_rules: Option<Vec<ToolRule>>,
    /// The messages in context, the system message first.
    #[schema(value_type = Option<Vec<String>>)]
    pub message_ids: Option<Vec<Id<MessageId>>>,
    /// For people.
    pub description: Option<String>,
    /// Free JSON object of the client; replaces the old one.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Another name of `secrets`, which wins.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub tool_exec_environment_variables: Option<SecretValues>,
    /// All that its tools find in their environment, by name. Kept encrypted.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub secrets: Option<SecretValues>,
    /// Kept for the client.
    pub project_id: Option<String>,
    /// Kept for the client.
    pub template_id: Option<String>,
    /// Kept for the client.
    pub base_template_id: Option<String>,
    /// Refused unless empty.
    pub identity_ids: Option<Vec<String>>,
    /// Whether each run starts with an empty history.
    pub message_buffer_autoclear: Option<bool>,
    /// Handle of its model.
    pub model: Option<String>,
    /// Handle of its embedding model.
    pub embedding: Option<String>,
    /// Its model, in the newer form.
    pub model_settings: Option<ModelSettingsInput>,
    /// How its history is compacted.
    pub compaction_settings: Option<CompactionSettingsInput>,
    /// Tokens it may fill, at most.
    pub context_window_limit: Option<u32>,
    /// Whether its model should reason.
    pub reasoning: Option<bool>,
    /// Its model, in the older form.
    pub llm_config: Option<LlmConfigInput>,
    /// Its embedding model, in the older form.
    pub embedding_config: Option<EmbeddingConfig>,
    /// Whether one answer may hold several calls.
    pub parallel_tool_calls: Option<bool>,
    /// The form of its answers.
    pub response_format: Option<ResponseFormat>,
    /// Tokens of one answer, at most.
    pub max_tokens: Option<u32>,
    /// Refused when true.
    pub enable_sleeptime: Option<bool>,
    /// IANA name of the time zone its model thinks in.
    pub timezone: Option<String>,
    /// Kept for the client.
    pub max_files_open: Option<u64>,
    /// Kept for the client.
    pub per_file_view_window_char_limit: Option<u64>,
    /// Whether lists leave it out.
    pub hidden: Option<bool>,
}

impl UpdateAgent {
    /// The handle of the model to look up before [`UpdateAgent::into_patch`]; `None` when the model stays.
    #[must_use]
    pub fn model_handle(&self) -> Option<String> {
        wanted_model(self.llm_config.as_ref(), self.model.as_deref())
    }

    /// The handle of the embedding model to look up; it need not be found.
    #[must_use]
    pub fn embedding_handle(&self) -> Option<&str> {
        self.embedding.as_deref().filter(|handle| !handle.is_empty())
    }

    /// The tools to look up; they need not be found.
    #[must_use]
    pub fn tool_names(&self) -> Vec<String> {
        self.tool_ids.iter().flatten().map(|id| id.0.to_string()).collect()
    }

    /// All secrets it is to have, of which [`UpdateAgent::into_patch`] takes no notice; `None` when they stay.
    ///
    /// # Errors
    /// As [`SecretValues::checked`].
    pub fn take_secrets(&mut self) -> Result<Option<SecretValues>, Problem> {
        let others = self.tool_exec_environment_variables.take();
        self.secrets.take().or(others).map(SecretValues::checked).transpose()
    }

    /// The new values but for secrets, computed from the agent as it stands. `found` is what the handles led to.
    ///
    /// # Errors
    /// [`Problem`] for what makes no sense and for what V1 has and this server has not.
    pub fn into_patch(self, state: &State, found: &Found) -> Result<Patch, Problem> {
        self.check_supported()?;
        let context = self.message_ids.clone().map(|ids| context(state, ids)).transpose()?;
        let tools = self.tool_ids.clone().map(|ids| known_tools(ids, found)).transpose()?;
        let blocks = self.block_ids.clone().map(without_repeats);
        let mut config = Config::clone(&state.config);
        self.apply(&mut config, found)?;
        let config = (config != *state.config).then_some(config);
        Ok(Patch { config, blocks, tools, context, secrets: None })
    }

    fn apply(self, config: &mut Config, found: &Found) -> Result<(), Problem> {
        let embedding_handle = self.embedding_handle().map(str::to_owned);
        if let Some(info) = &found.model {
            let format = config.model.response_format.take();
            config.model = ModelConfig { response_format: format, ..plain_model(info) };
        }
        Wishes {
            llm_config: self.llm_config,
            context_window_limit: self.context_window_limit,
            max_tokens: self.max_tokens,
            max_reasoning_tokens: None,
            enable_reasoner: self.reasoning,
            model_settings: self.model_settings,
            parallel_tool_calls: self.parallel_tool_calls,
            response_format: self.response_format,
        }
        .apply(&mut config.model)?;
        let changed = embedding(
            self.embedding_config,
            embedding_handle.as_deref(),
            None,
            found.embedding.as_ref(),
        );
        set_some(&mut config.embedding, changed);
        if let Some(settings) = self.compaction_settings {
            settings.apply(&mut config.compaction)?;
        }
        set(&mut config.name, self.name.map(new_name).transpose()?);
        set(&mut config.system, self.system);
        set(&mut config.tags, self.tags.map(tags).transpose()?);
        set(&mut config.tool_rules, self.tool_rules.map(stored_rules).transpose()?);
        set(&mut config.timezone, self.timezone.map(check_timezone).transpose()?);
        set(&mut config.message_buffer_autoclear, self.message_buffer_autoclear);
        set_some(&mut config.description, self.description);
        set_some(&mut config.metadata, self.metadata.as_ref().map(json::to_text));
        set_some(&mut config.hidden, self.hidden);
        set_some(&mut config.max_files_open, self.max_files_open);
        set_some(&mut config.per_file_view_window_char_limit, self.per_file_view_window_char_limit);
        set_some(&mut config.project_id, self.project_id);
        set_some(&mut config.template_id, self.template_id);
        set_some(&mut config.base_template_id, self.base_template_id);
        Ok(())
    }

    fn check_supported(&self) -> Result<(), Problem> {
        check_none("source_ids", self.source_ids.as_ref())?;
        check_none("folder_ids", self.folder_ids.as_ref())?;
        check_none("identity_ids", self.identity_ids.as_ref())?;
        check_off("enable_sleeptime", self.enable_sleeptime)
    }
}

/// An agent that has a name does not lose it.
fn new_name(name: String) -> Result<String, Problem> {
    if name.is_empty() {
        return Err(Problem::Invalid("agent name is empty".to_owned()));
    }
    check_name(name)
}

fn context(state: &State, ids: Vec<Id<MessageId>>) -> Result<Vec<MessageId>, Problem> {
    let system = state.thread().system.id;
    match ids.first() {
        Some(first) if first.0 == system => Ok(ids.into_iter().map(|id| id.0).collect()),
        _ => Err(Problem::Invalid(format!(
            "message_ids must begin with the agent's system message, {system}"
        ))),
    }
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
