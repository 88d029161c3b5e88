//! Samples of what an agent is made of.

use super::*;

pub(super) fn created() -> agent::Created {
    agent::Created {
        config: config(),
        blocks: vec![block_id(1), block_id(2)],
        tools: vec![tool_id(1)],
        messages: messages(),
        compiled_from: vec![block_version()],
    }
}

/// As little as an agent can be.
pub(super) fn bare() -> agent::Created {
    let mut config = config();
    config.description = None;
    config.metadata = None;
    config.tags = vec![];
    config.model.display_name = None;
    config.model.endpoint = None;
    config.model.provider_name = None;
    config.model.max_output_tokens = None;
    config.model.temperature = None;
    config.model.reasoning_effort = None;
    config.model.response_format = None;
    config.embedding = None;
    config.compaction.model = None;
    config.compaction.prompt = None;
    config.compaction.clip_chars = None;
    config.compaction.model_settings = None;
    config.tool_rules = vec![];
    config.hidden = None;
    config.max_files_open = None;
    config.per_file_view_window_char_limit = None;
    config.project_id = None;
    config.template_id = None;
    config.base_template_id = None;
    let (blocks, tools, messages) = (vec![], vec![], vec![]);
    agent::Created { config, blocks, tools, messages, compiled_from: vec![] }
}

pub(super) fn configured(config: agent::Config) -> agent::Event {
    agent::Event::Configured(agent::Configured { config })
}

/// Every loop and every way of compaction.
pub(super) fn configs() -> Vec<agent::Config> {
    use agent::{AgentType, CompactionMode};
    let kinds = [
        (AgentType::LettaV1, CompactionMode::All),
        (AgentType::MemgptV2, CompactionMode::SlidingWindow),
        (AgentType::Memgpt, CompactionMode::SelfCompactAll),
        (AgentType::LettaV1, CompactionMode::SelfCompactSlidingWindow),
    ];
    let with = |(agent_type, mode)| {
        let mut config = config();
        config.agent_type = agent_type;
        config.compaction.mode = mode;
        config
    };
    kinds.map(with).to_vec()
}

pub(super) fn config() -> agent::Config {
    agent::Config {
        name: text("Sam"),
        agent_type: agent::AgentType::LettaV1,
        system: text("You are a helpful agent.\n"),
        description: Some(text("for tests")),
        metadata: Some(json("{\"a\":[1,2.5,null]}")),
        tags: vec![text("one"), text("zwei ü")],
        model: model_config(),
        embedding: Some(agent::EmbeddingConfig {
            handle: Some(text("openai/text-embedding-3-small")),
            config: json("{\"embedding_dim\":1536}"),
        }),
        compaction: agent::Compaction {
            model: Some(text("openai/gpt-4o-mini")),
            prompt: Some(text("Summarize.")),
            prompt_acknowledgement: true,
            mode: agent::CompactionMode::SlidingWindow,
            sliding_window_percentage: 0.3,
            clip_chars: Some(50_000),
            model_settings: Some(json("{}")),
        },
        tool_rules: tool_rules(),
        timezone: text("Europe/Berlin"),
        message_buffer_autoclear: false,
        hidden: Some(true),
        max_files_open: Some(5),
        per_file_view_window_char_limit: Some(15_000),
        project_id: Some(text("project-1")),
        template_id: Some(text("template-1")),
        base_template_id: Some(text("base-1")),
    }
}

pub(super) fn model_config() -> agent::ModelConfig {
    agent::ModelConfig {
        handle: text("openai/gpt-4o-mini"),
        model: text("gpt-4o-mini"),
        display_name: Some(text("GPT-4o mini")),
        endpoint_type: text("openai"),
        endpoint: Some(text("https://api.openai.com/v1")),
        provider_name: Some(text("openai")),
        context_window: 128_000,
        max_output_tokens: Some(4096),
        temperature: Some(0.7),
        parallel_tool_calls: true,
        enable_reasoner: true,
        reasoning_effort: Some(text("medium")),
        max_reasoning_tokens: 1024,
        response_format: Some(json("{\"type\":\"text\"}")),
        other_config: json("{\"tier\":null}"),
        other_settings: json("{}"),
    }
}

/// Every kind of rule.
pub(super) fn tool_rules() -> Vec<agent::ToolRule> {
    use agent::ToolRuleKind as Kind;
    let kinds = [
        Kind::RunFirst { args: Some(json("{\"q\":1}")) },
        Kind::ConstrainChildren { children: vec![text("a"), text("b")], nodes: None },
        Kind::ParentLast { children: vec![text("c")] },
        Kind::Conditional {
            default_child: Some(text("d")),
            mapping: vec![(text("yes"), text("e"))],
            require_mapping: true,
        },
        Kind::ContinueLoop,
        Kind::ExitLoop,
        Kind::MaxCount { limit: 3 },
        Kind::RequiredBeforeExit,
    ];
    let rule = |kind| agent::ToolRule {
        tool: text("search"),
        kind,
        prompt_template: Some(text("{{ tool }}")),
    };
    kinds.map(rule).to_vec()
}
