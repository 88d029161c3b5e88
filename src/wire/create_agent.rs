//! Making an agent: what a client gives, and what it gets where it gives nothing.

use retold_actors::{
    agent::NewAgent,
    tool::{self, base_rules, base_rules_of, base_tools, multi_agent_tools},
};
use retold_events::{
    BlockId, ToolId,
    agent::{AgentType, Config, ToolRule as StoredRule},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    CompactionSettingsInput, CreateBlock, Defaults, EmbeddingConfig, Found, Id, LlmConfigInput,
    MessageCreate, ModelSettingsInput, Problem, ResponseFormat, SecretValues, ToolRule,
    WireAgentType, default_compaction, json,
    model_choice::{Wishes, embedding, plain_model},
    problem::not_supported,
    stored_rules, tags,
    tool_rule::add_rule,
};

/// An agent to be made.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct CreateAgentRequest {
    /// Its name; one is made up when absent.
    pub name: Option<String>,
    /// Blocks made with it.
    pub memory_blocks: Option<Vec<CreateBlock>>,
    /// Names, or ids, of tools.
    pub tools: Option<Vec<String>>,
    /// Ids of tools.
    #[schema(value_type = Option<Vec<String>>)]
    pub tool_ids: Option<Vec<Id<ToolId>>>,
    /// Refused unless empty.
    pub source_ids: Option<Vec<String>>,
    /// Refused unless empty.
    pub folder_ids: Option<Vec<String>>,
    /// Blocks that exist.
    #[schema(value_type = Option<Vec<String>>)]
    pub block_ids: Option<Vec<Id<BlockId>>>,
    /// What orders its tool calls.
    pub tool_rules: Option<Vec<ToolRule>>,
    /// Labels, for finding it again.
    pub tags: Option<Vec<String>>,
    /// The system prompt; the stock one of its type when absent.
    pub system: Option<String>,
    /// Which loop it runs; `letta_v1_agent` when absent.
    pub agent_type: Option<String>,
    /// Its first messages; what its type begins with when absent.
    pub initial_message_sequence: Option<Vec<MessageCreate>>,
    /// Whether it gets the tools of its type; true when absent.
    pub include_base_tools: Option<bool>,
    /// Refused when true.
    pub include_multi_agent_tools: Option<bool>,
    /// Whether it gets the rules of its tools; when absent, the older types do.
    pub include_base_tool_rules: Option<bool>,
    /// Refused when true.
    pub include_default_source: Option<bool>,
    /// For people.
    pub description: Option<String>,
    /// Free JSON object of the client.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Its model, in the older form.
    pub llm_config: Option<LlmConfigInput>,
    /// Its embedding model, in the older form.
    pub embedding_config: Option<EmbeddingConfig>,
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
    /// Tokens of a piece of text to embed.
    pub embedding_chunk_size: Option<u32>,
    /// Tokens of one answer, at most.
    pub max_tokens: Option<u32>,
    /// Thinking budget in tokens.
    pub max_reasoning_tokens: Option<u32>,
    /// Whether its model should reason.
    pub enable_reasoner: Option<bool>,
    /// Another spelling of `enable_reasoner`.
    pub reasoning: Option<bool>,
    /// Another name of `secrets`, which wins.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub tool_exec_environment_variables: Option<SecretValues>,
    /// What its tools find in their environment, by name. Kept encrypted.
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
    /// Refused when true.
    pub enable_sleeptime: Option<bool>,
    /// The form of its answers.
    pub response_format: Option<ResponseFormat>,
    /// IANA name of the time zone its model thinks in; `UTC` when absent.
    pub timezone: Option<String>,
    /// Kept for the client.
    pub max_files_open: Option<u64>,
    /// Kept for the client.
    pub per_file_view_window_char_limit: Option<u64>,
    /// Whether lists leave it out.
    pub hidden: Option<bool>,
    /// Whether one answer may hold several calls.
    pub parallel_tool_calls: Option<bool>,
}

impl CreateAgentRequest {
    /// The handle of the model to look up before [`CreateAgentRequest::into_new_agent`].
    ///
    /// # Errors
    /// [`Problem::Invalid`] when neither the request nor the server's configuration names a model.
    pub fn model_handle(&self, defaults: &Defaults) -> Result<String, Problem> {
        wanted_model(self.llm_config.as_ref(), self.model.as_deref())
            .or_else(|| defaults.model.clone())
            .ok_or_else(|| {
                Problem::Invalid(
                    "`model` is required: name a model as `provider/name`, see GET /v1/models/ for those there are"
                        .to_owned(),
                )
            })
    }

    /// The handle of the embedding model to look up; it need not be found.
    #[must_use]
    pub fn embedding_handle<'a>(&'a self, defaults: &'a Defaults) -> Option<&'a str> {
        let given = self.embedding.as_deref().filter(|handle| !handle.is_empty());
        given.or(defaults.embedding.as_deref())
    }

    /// The tools to look up: names or ids; they need not be found.
    #[must_use]
    pub fn tool_names(&self) -> Vec<String> {
        let ids = self.tool_ids.iter().flatten().map(|id| id.0.to_string());
        self.tools.iter().flatten().cloned().chain(ids).collect()
    }

    /// Its secrets, of which [`CreateAgentRequest::into_new_agent`] takes no notice; `None` when none are given.
    ///
    /// # Errors
    /// As [`SecretValues::checked`].
    pub fn take_secrets(&mut self) -> Result<Option<SecretValues>, Problem> {
        let others = self.tool_exec_environment_variables.take();
        self.secrets.take().or(others).map(SecretValues::checked).transpose()
    }

    /// The agent to make, without its secrets. `found` is what the handles led to.
    ///
    /// # Errors
    /// [`Problem`] for what makes no sense and for what V1 has and this server has not.
    pub fn into_new_agent(self, defaults: &Defaults, found: &Found) -> Result<NewAgent, Problem> {
        self.check_supported()?;
        let agent_type = agent_type(self.agent_type.as_deref())?;
        let embedding_handle = self.embedding_handle(defaults).map(str::to_owned);
        let info = found.model.as_ref().ok_or_else(|| {
            Problem::Invalid("`model` is required: name a model as `provider/name`".to_owned())
        })?;
        let mut model = plain_model(info);
        let wishes = Wishes {
            llm_config: self.llm_config,
            context_window_limit: self.context_window_limit,
            max_tokens: self.max_tokens,
            max_reasoning_tokens: self.max_reasoning_tokens,
            enable_reasoner: self.reasoning.or(self.enable_reasoner),
            model_settings: self.model_settings,
            parallel_tool_calls: self.parallel_tool_calls,
            response_format: self.response_format,
        };
        wishes.apply(&mut model)?;
        let mut compaction = default_compaction(found.small_model.clone());
        if let Some(settings) = self.compaction_settings {
            settings.apply(&mut compaction)?;
        }
        let mut base =
            if self.include_base_tools.unwrap_or(true) { base_tools(agent_type) } else { vec![] };
        if self.include_multi_agent_tools.unwrap_or(false) {
            base.extend(multi_agent_tools());
        }
        let (names, ids) = (self.tools.unwrap_or_default(), self.tool_ids.unwrap_or_default());
        let tools = tools(base, names, ids, found)?;
        let tool_rules =
            tool_rules(self.tool_rules, self.include_base_tool_rules, agent_type, &tools)?;
        let tags = tags(self.tags.unwrap_or_default())?;
        let subagent = tags.iter().any(|tag| tag == "role:subagent");
        let config = Config {
            name: self.name.map(check_name).transpose()?.unwrap_or_default(),
            agent_type,
            system: self.system.unwrap_or_default(),
            description: self.description,
            metadata: self.metadata.as_ref().map(json::to_text),
            tags,
            model,
            embedding: embedding(
                self.embedding_config,
                embedding_handle.as_deref(),
                self.embedding_chunk_size,
                found.embedding.as_ref(),
            ),
            compaction,
            tool_rules,
            timezone: self
                .timezone
                .map(check_timezone)
                .transpose()?
                .unwrap_or_else(|| "UTC".to_owned()),
            message_buffer_autoclear: self.message_buffer_autoclear.unwrap_or(false),
            hidden: if subagent { Some(true) } else { self.hidden },
            max_files_open: self.max_files_open,
            per_file_view_window_char_limit: self.per_file_view_window_char_limit,
            project_id: self.project_id,
            template_id: self.template_id,
            base_template_id: self.base_template_id,
        };
        let new_blocks = self.memory_blocks.unwrap_or_default().into_iter();
        let first = self.initial_message_sequence.map(|messages| {
            messages.into_iter().map(MessageCreate::into_new_message).collect::<Result<Vec<_>, _>>()
        });
        Ok(NewAgent {
            config,
            new_blocks: new_blocks.map(CreateBlock::into_agent_block).collect::<Result<_, _>>()?,
            blocks: without_repeats(self.block_ids.unwrap_or_default()),
            tools,
            initial_messages: first.transpose()?,
            secrets: None,
        })
    }

    fn check_supported(&self) -> Result<(), Problem> {
        check_none("source_ids", self.source_ids.as_ref())?;
        check_none("folder_ids", self.folder_ids.as_ref())?;
        check_none("identity_ids", self.identity_ids.as_ref())?;
        check_off("enable_sleeptime", self.enable_sleeptime)?;
        check_off("include_default_source", self.include_default_source)
    }
}

/// The handle a request names: the older form's own handle, else the newer form's, else what the older form amounts to.
pub(crate) fn wanted_model(
    llm_config: Option<&LlmConfigInput>,
    model: Option<&str>,
) -> Option<String> {
    let own = llm_config.and_then(|config| config.handle.clone());
    own.into_iter()
        .chain(model.map(str::to_owned))
        .chain(llm_config.map(LlmConfigInput::wanted_handle))
        .find(|handle| !handle.is_empty())
}

pub(crate) fn check_none<T>(name: &str, given: Option<&Vec<T>>) -> Result<(), Problem> {
    if given.is_none_or(Vec::is_empty) {
        return Ok(());
    }
    Err(not_supported(
        &format!("`{name}`"),
        "it keeps no files, folders or identities: leave it out or empty",
    ))
}

pub(crate) fn check_off(name: &str, given: Option<bool>) -> Result<(), Problem> {
    if given != Some(true) {
        return Ok(());
    }
    Err(not_supported(&format!("`{name}`: true"), "leave it out or false"))
}

/// Letters of any language, digits, spaces and `_ - '`.
pub(crate) fn check_name(name: String) -> Result<String, Problem> {
    match name.chars().find(|&char| !char.is_alphanumeric() && !" _-'".contains(char)) {
        Some(odd) => Err(Problem::Invalid(format!(
            "agent name {name:?} holds {odd:?}; only letters, digits, spaces, hyphens, underscores and apostrophes are allowed"
        ))),
        None => Ok(name),
    }
}

pub(crate) fn check_timezone(name: String) -> Result<String, Problem> {
    match jiff::tz::TimeZone::get(&name) {
        Ok(_) => Ok(name),
        Err(_) => Err(Problem::Invalid(format!(
            "timezone {name:?} is not known; use an IANA name such as `Europe/Berlin`"
        ))),
    }
}

fn agent_type(word: Option<&str>) -> Result<AgentType, Problem> {
    let Some(word) = word else { return Ok(AgentType::LettaV1) };
    WireAgentType::of_word(word).map(WireAgentType::stored).ok_or_else(|| {
        not_supported(
            &format!("agent_type `{word}`"),
            "use `letta_v1_agent`, `memgpt_v2_agent` or `memgpt_agent`",
        )
    })
}

/// The tools of a new agent in order, each once: those of its type, then those named.
fn tools(
    mut found: Vec<ToolId>,
    names: Vec<String>,
    ids: Vec<Id<ToolId>>,
    known: &Found,
) -> Result<Vec<ToolId>, Problem> {
    let mut unknown = Vec::new();
    for name in names {
        // Old documents put ids among the names.
        match known.tool(&name) {
            Some(tool) => found.push(tool),
            None => unknown.push(format!("'{name}'")),
        }
    }
    if !unknown.is_empty() {
        return Err(unknown_tools("name", &unknown));
    }
    found.extend(known_tools(ids, known)?);
    Ok(without_repeats(found.into_iter().map(Id).collect()))
}

/// Tools by their ids, each once.
pub(crate) fn known_tools(ids: Vec<Id<ToolId>>, found: &Found) -> Result<Vec<ToolId>, Problem> {
    let unknown: Vec<String> = ids
        .iter()
        .filter(|id| found.tool(&id.0.to_string()).is_none())
        .map(|id| format!("'{}'", id.0))
        .collect();
    if unknown.is_empty() { Ok(without_repeats(ids)) } else { Err(unknown_tools("id", &unknown)) }
}

fn unknown_tools(by: &str, unknown: &[String]) -> Problem {
    let known: Vec<&str> = tool::builtins().iter().map(|tool| tool.name).collect();
    Problem::Invalid(format!(
        "Tools not found by {by}: {{{}}}; this server has {} and what GET /v1/tools/ lists",
        unknown.join(", "),
        known.join(", ")
    ))
}

pub(crate) fn without_repeats<T: PartialEq + Copy>(ids: Vec<Id<T>>) -> Vec<T> {
    let mut kept = Vec::with_capacity(ids.len());
    for Id(id) in ids {
        if !kept.contains(&id) {
            kept.push(id);
        }
    }
    kept
}

fn tool_rules(
    given: Option<Vec<ToolRule>>,
    include_base: Option<bool>,
    agent_type: AgentType,
    tools: &[ToolId],
) -> Result<Vec<StoredRule>, Problem> {
    let mut rules = stored_rules(given.unwrap_or_default())?;
    let base = match include_base {
        None => base_rules(agent_type, tools),
        Some(true) => base_rules_of(tools),
        Some(false) => Vec::new(),
    };
    for rule in base {
        add_rule(&mut rules, rule);
    }
    Ok(rules)
}
