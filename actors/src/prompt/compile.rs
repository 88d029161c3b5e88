//! The system message of a thread: the system prompt of the agent, its memory, and what it should know of itself.
//!
//! The text is a function of its input alone, so that compiling twice gives the same bytes: providers cache prompts by
//! their beginning. What changes with every turn has no place in it.

use retold_events::{
    AgentId, BlockId, ConversationId, Timestamp,
    agent::{AgentType, Config},
    block,
};

use super::note::local_time;
use crate::{rules, tool::memory::LINE_NUMBER_BANNER};

/// Where a system prompt wants its memory. Without it, memory comes last.
const PLACEHOLDER: &str = "{CORE_MEMORY}";

/// What a system message is compiled from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompileInput<'a> {
    /// Whose it is.
    pub(crate) agent: AgentId,
    /// Of which thread; `None` is the agent's own.
    pub(crate) conversation: Option<ConversationId>,
    /// The configuration of the agent.
    pub(crate) config: &'a Config,
    /// Its blocks, in the order it sees them.
    pub(crate) blocks: &'a [(BlockId, &'a block::Block)],
    /// Messages of the thread before now.
    pub(crate) previous_messages: u64,
    /// The time the text names as its compilation.
    pub(crate) compiled_at: Timestamp,
    /// Whether tool rules are told.
    pub(crate) with_rules: bool,
}

/// The text of the system message.
pub(crate) fn compile(input: &CompileInput<'_>) -> String {
    let system = input.config.system.as_str();
    let memory = memory(input);
    if system.contains(PLACEHOLDER) {
        // One pass: a placeholder within a block's value stays what it is.
        system.replace(PLACEHOLDER, &memory)
    } else if system.is_empty() {
        memory
    } else {
        format!("{system}\n\n{memory}")
    }
}

fn memory(input: &CompileInput<'_>) -> String {
    let rules = if input.with_rules { rules::render(&input.config.tool_rules) } else { None };
    let sections: Vec<String> = [Some(memory_blocks(input)), rules, Some(memory_metadata(input))]
        .into_iter()
        .flatten()
        .collect();
    sections.join("\n\n")
}

fn memory_blocks(input: &CompileInput<'_>) -> String {
    if input.blocks.is_empty() {
        return "<memory_blocks>\nYou have no memory blocks.\n</memory_blocks>".to_owned();
    }
    let numbered = numbers_lines(input.config);
    let blocks: Vec<String> =
        input.blocks.iter().map(|(id, block)| memory_block(*id, block, numbered)).collect();
    format!(
        "<memory_blocks>\nThese memory blocks are always in front of you:\n\n{}\n</memory_blocks>",
        blocks.join("\n\n")
    )
}

/// Anthropic's models are the ones that are shown line numbers, where memory tools take them.
fn numbers_lines(config: &Config) -> bool {
    let by_lines = match config.agent_type {
        AgentType::LettaV1 | AgentType::MemgptV2 => true,
        AgentType::Memgpt => false,
    };
    by_lines && config.model.endpoint_type == "anthropic"
}

fn memory_block(id: BlockId, block: &block::Block, numbered: bool) -> String {
    let label = block.label.clone().unwrap_or_else(|| id.to_string());
    let mut text = format!("<{label}>\n");
    if let Some(description) = block.description.as_deref().filter(|text| !text.is_empty()) {
        text.push_str(&element("description", description));
    }
    let read_only = if block.read_only { "- read_only=true\n" } else { "" };
    let metadata = format!(
        "{read_only}- chars_current={}\n- chars_limit={}",
        block.value.chars().count(),
        block.limit
    );
    text.push_str(&element("metadata", &metadata));
    if numbered {
        text.push_str(&element("warning", LINE_NUMBER_BANNER));
        text.push_str(&element("value", &number_lines(&block.value)));
    } else {
        text.push_str(&element("value", &block.value));
    }
    text.push_str(&format!("</{label}>"));
    text
}

fn element(name: &str, content: &str) -> String {
    format!("<{name}>\n{content}\n</{name}>\n")
}

fn number_lines(value: &str) -> String {
    let lines: Vec<String> = value
        .split('\n')
        .enumerate()
        .map(|(index, line)| format!("{}→ {line}", index + 1))
        .collect();
    lines.join("\n")
}

fn memory_metadata(input: &CompileInput<'_>) -> String {
    let conversation = input.conversation.map_or_else(|| "default".to_owned(), |id| id.to_string());
    element(
        "memory_metadata",
        &format!(
            "- AGENT_ID: {}\n- CONVERSATION_ID: {conversation}\n- System prompt last recompiled: {}\n- {} previous \
            messages between you and the user are stored in recall memory",
            input.agent,
            local_time(input.compiled_at, &input.config.timezone),
            input.previous_messages,
        ),
    )
    .trim_end()
    .to_owned()
}

#[cfg(test)]
mod tests;
