//! Agents as clients see them.

use retold_actors::AgentView;
use retold_events::{AgentId, MessageId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    AgentEnvironmentVariable, ApprovalRequestMessage, Block, CompactionSettings, DEFAULT_USER_ID,
    Id, JsonObject, LlmConfig, ModelSettings, Relations, ResponseFormat, Time, Tool, ToolRule,
    WireAgentType, WireStopReason, expand::approval_request, json,
};

/// An agent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AgentState {
    /// Who made it.
    pub created_by_id: Option<String>,
    /// Who changed it last.
    pub last_updated_by_id: Option<String>,
    /// When it came to be.
    pub created_at: Option<Time>,
    /// When its configuration or memory last changed.
    pub updated_at: Option<Time>,
    /// Its id.
    #[schema(value_type = String)]
    pub id: Id<AgentId>,
    /// Its name.
    pub name: String,
    /// What orders its tool calls.
    pub tool_rules: Option<Vec<ToolRule>>,
    /// The messages in context, the system message first.
    #[schema(value_type = Option<Vec<String>>)]
    pub message_ids: Option<Vec<Id<MessageId>>>,
    /// The system prompt before compilation.
    pub system: String,
    /// Which loop it runs.
    pub agent_type: WireAgentType,
    /// Its model, in the older form.
    pub llm_config: LlmConfig,
    /// Its embedding model.
    #[schema(value_type = Option<super::EmbeddingConfig>)]
    pub embedding_config: Option<JsonObject>,
    /// Handle of its model.
    pub model: Option<String>,
    /// Handle of its embedding model.
    pub embedding: Option<String>,
    /// Its model, in the newer form.
    pub model_settings: Option<ModelSettings>,
    /// How its history is compacted.
    pub compaction_settings: Option<CompactionSettings>,
    /// The form of its answers.
    pub response_format: Option<ResponseFormat>,
    /// For people.
    pub description: Option<String>,
    /// Free JSON object of the client.
    pub metadata: Option<JsonObject>,
    /// Its blocks, once more.
    pub memory: Memory,
    /// Its blocks, in the order the model sees them.
    pub blocks: Vec<Block>,
    /// Its tools, in the order they were attached.
    pub tools: Vec<Tool>,
    /// Always empty: this server keeps no files.
    #[schema(value_type = Vec<Object>)]
    pub sources: [(); 0],
    /// Labels of the client.
    pub tags: Vec<String>,
    /// Its secrets, once more.
    pub tool_exec_environment_variables: Vec<AgentEnvironmentVariable>,
    /// What its tools find in their environment, with values; empty unless `include` names `agent.secrets`.
    pub secrets: Vec<AgentEnvironmentVariable>,
    /// Kept for the client.
    pub project_id: Option<String>,
    /// Kept for the client.
    pub template_id: Option<String>,
    /// Kept for the client.
    pub base_template_id: Option<String>,
    /// Always `null`.
    pub deployment_id: Option<String>,
    /// Always `null`.
    pub entity_id: Option<String>,
    /// Always empty.
    #[schema(value_type = Vec<String>)]
    pub identity_ids: [(); 0],
    /// Always empty.
    #[schema(value_type = Vec<Object>)]
    pub identities: [(); 0],
    /// Tool calls that wait for a person or for the client.
    pub pending_approval: Option<ApprovalRequestMessage>,
    /// Whether each run starts with an empty history.
    pub message_buffer_autoclear: bool,
    /// Always `null`.
    pub enable_sleeptime: Option<bool>,
    /// Always `null`.
    #[schema(value_type = Option<Object>)]
    pub multi_agent_group: Option<()>,
    /// Always `null`.
    #[schema(value_type = Option<Object>)]
    pub managed_group: Option<()>,
    /// When its last run ended.
    pub last_run_completion: Option<Time>,
    /// How long that took, in milliseconds.
    pub last_run_duration_ms: Option<u64>,
    /// Why it ended.
    pub last_stop_reason: Option<WireStopReason>,
    /// IANA name of the time zone its model thinks in.
    pub timezone: Option<String>,
    /// Kept for the client.
    pub max_files_open: Option<u64>,
    /// Kept for the client.
    pub per_file_view_window_char_limit: Option<u64>,
    /// Whether lists leave it out.
    pub hidden: Option<bool>,
}

/// An agent's memory.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Memory {
    /// Which loop the agent runs.
    pub agent_type: WireAgentType,
    /// Always false.
    pub git_enabled: bool,
    /// The blocks, in the order the model sees them.
    pub blocks: Vec<Block>,
    /// Always empty: this server keeps no files.
    #[schema(value_type = Vec<Object>)]
    pub file_blocks: [(); 0],
    /// Always empty.
    #[schema(value_type = String)]
    pub prompt_template: &'static str,
}

impl Memory {
    /// The memory of an agent.
    #[must_use]
    pub fn of(view: &AgentView) -> Self {
        Self::new(view, view.blocks.iter().map(Block::from).collect())
    }

    fn new(view: &AgentView, blocks: Vec<Block>) -> Self {
        Self {
            agent_type: view.state.config.agent_type.into(),
            git_enabled: false,
            blocks,
            file_blocks: [],
            prompt_template: "",
        }
    }
}

impl AgentState {
    /// An agent as it is answered. Relations that were not asked for are empty, and so are its secrets, see
    /// [`AgentState::with_secrets`].
    #[must_use]
    pub fn new(view: &AgentView, relations: Relations) -> Self {
        let state = &view.state;
        let config = &state.config;
        let thread = state.thread();
        let blocks: Vec<Block> =
            view.blocks.iter().filter(|_| relations.blocks).map(Block::from).collect();
        let tools = view.tools.iter().filter(|_| relations.tools);
        let in_context = thread.context.iter().map(|message| message.id);
        Self {
            created_by_id: Some(DEFAULT_USER_ID.to_owned()),
            last_updated_by_id: Some(DEFAULT_USER_ID.to_owned()),
            created_at: Some(Time(state.created_at)),
            updated_at: Some(Time(state.updated_at)),
            id: Id(state.id),
            name: config.name.clone(),
            tool_rules: Some(config.tool_rules.iter().map(Into::into).collect()),
            message_ids: Some(
                std::iter::once(thread.system.id).chain(in_context).map(Id).collect(),
            ),
            system: config.system.clone(),
            agent_type: config.agent_type.into(),
            llm_config: LlmConfig::new(&config.model, config.agent_type),
            embedding_config: config
                .embedding
                .as_ref()
                .map(|embedding| JsonObject::stored(&embedding.config)),
            model: Some(config.model.handle.clone()),
            embedding: config.embedding.as_ref().and_then(|embedding| embedding.handle.clone()),
            model_settings: Some((&config.model).into()),
            compaction_settings: Some(CompactionSettings::new(
                &config.compaction,
                &config.model.handle,
            )),
            response_format: config.model.response_format.as_ref().and_then(json::from_text),
            description: config.description.clone(),
            metadata: config.metadata.as_ref().map(JsonObject::stored),
            memory: Memory::new(view, blocks.clone()),
            blocks,
            tools: tools.map(Tool::from).collect(),
            sources: [],
            tags: if relations.tags { config.tags.clone() } else { Vec::new() },
            tool_exec_environment_variables: Vec::new(),
            secrets: Vec::new(),
            project_id: config.project_id.clone(),
            template_id: config.template_id.clone(),
            base_template_id: config.base_template_id.clone(),
            deployment_id: None,
            entity_id: None,
            identity_ids: [],
            identities: [],
            pending_approval: state
                .thread()
                .pending()
                .filter(|_| relations.pending_approval)
                .map(|asks| approval_request(asks)),
            message_buffer_autoclear: config.message_buffer_autoclear,
            enable_sleeptime: None,
            multi_agent_group: None,
            managed_group: None,
            last_run_completion: state.last_run.map(|run| Time(run.at)),
            last_run_duration_ms: state.last_run.map(|run| run.total_ns / 1_000_000),
            last_stop_reason: state.last_run.map(|run| run.stop_reason.into()),
            timezone: Some(config.timezone.clone()),
            max_files_open: config.max_files_open,
            per_file_view_window_char_limit: config.per_file_view_window_char_limit,
            hidden: config.hidden,
        }
    }
}

impl AgentState {
    /// The same with these secrets.
    #[must_use]
    pub fn with_secrets(self, secrets: Vec<AgentEnvironmentVariable>) -> Self {
        Self { tool_exec_environment_variables: secrets.clone(), secrets, ..self }
    }
}

/// Whether a reset leaves the first messages of the agent's type.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
pub struct ResetMessagesRequest {
    /// Whether it does; false when absent.
    #[serde(default)]
    pub add_default_initial_messages: bool,
}
