//! What happens to agents, as it is told.

use retold_events::{AgentId, BlockId, ConversationId, MessageId, ToolId, agent};
use serde::Serialize;
use utoipa::ToSchema;

use super::{StoredConfig, StoredMessage};
use crate::wire::{Id, Time};

/// An agent came to be.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AgentCreated {
    /// Everything about it but its memory.
    pub config: StoredConfig,
    /// Its blocks, in the order the model sees them.
    #[schema(value_type = Vec<String>)]
    pub block_ids: Vec<Id<BlockId>>,
    /// Its tools.
    #[schema(value_type = Vec<String>)]
    pub tool_ids: Vec<Id<ToolId>>,
    /// Its first messages, the system message first.
    pub messages: Vec<StoredMessage>,
    /// The blocks the system message was compiled from.
    pub compiled_from: Vec<CompiledFrom>,
}

/// An agent came to be as a fork: its history begins as its parent's up to a moment.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AgentForked {
    /// Whose history it goes on from.
    #[schema(value_type = String)]
    pub parent_id: Id<AgentId>,
    /// The last event of the parent's stream that is included.
    pub sequence: u64,
    /// The moment, among all events of the server.
    pub position: u64,
    /// Its name.
    pub name: String,
    /// Its blocks, in the order the model sees them.
    pub blocks: Vec<ForkedBlock>,
}

/// A block of a fork, and the one it is a copy of.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct ForkedBlock {
    /// The parent's.
    #[schema(value_type = String)]
    pub from_block_id: Id<BlockId>,
    /// The last event of its stream that is included.
    pub sequence: u64,
    /// The fork's own.
    #[schema(value_type = String)]
    pub block_id: Id<BlockId>,
}

/// An agent's configuration changed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AgentConfigured {
    /// Everything about it, after the change.
    pub config: StoredConfig,
}

/// A block became part of an agent's memory, or is no longer.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct AgentBlock {
    /// Which block.
    #[schema(value_type = String)]
    pub block_id: Id<BlockId>,
}

/// An agent may call a tool, or may no longer.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct AgentTool {
    /// Which tool.
    #[schema(value_type = String)]
    pub tool_id: Id<ToolId>,
}

/// An agent's secrets were set.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AgentSecretsSet {
    /// What they are called, after it. Their values are in no event.
    pub names: Vec<String>,
}

/// The system message of a thread was rewritten in place.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AgentSystemCompiled {
    /// Which conversation; `null` is the agent's own thread.
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<Id<ConversationId>>,
    /// The new text.
    pub text: String,
    /// Its tokens.
    pub tokens: u32,
    /// The time the text names as its compilation.
    pub compiled_at: Time,
    /// The blocks it was compiled from.
    pub compiled_from: Vec<CompiledFrom>,
}

/// A block as it stood at one event of its stream.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct CompiledFrom {
    /// Which block.
    #[schema(value_type = String)]
    pub block_id: Id<BlockId>,
    /// The last event of its stream that is included.
    pub sequence: u64,
}

/// The context window of a thread was set.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AgentContextReplaced {
    /// Which conversation; `null` is the agent's own thread.
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<Id<ConversationId>>,
    /// The messages now in context, the system message first.
    pub messages: Vec<StoredMessage>,
}

/// Older messages of a thread gave way to a summary.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AgentContextCompacted {
    /// Which conversation; `null` is the agent's own thread.
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<Id<ConversationId>>,
    /// What stands for them.
    pub summary: StoredMessage,
    /// The first message that stayed.
    #[schema(value_type = Option<String>)]
    pub kept_from: Option<Id<MessageId>>,
    /// What set it off.
    pub trigger: String,
    /// Tokens in context before.
    pub tokens_before: u32,
    /// Tokens in context after.
    pub tokens_after: u32,
    /// Messages in context before.
    pub messages_before: u32,
    /// Messages in context after.
    pub messages_after: u32,
}

/// There is nothing more to say.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Nothing {}

impl From<&agent::Created> for AgentCreated {
    fn from(created: &agent::Created) -> Self {
        Self {
            config: (&created.config).into(),
            block_ids: created.blocks.iter().copied().map(Id).collect(),
            tool_ids: created.tools.iter().copied().map(Id).collect(),
            messages: created.messages.iter().map(StoredMessage::from).collect(),
            compiled_from: created.compiled_from.iter().map(CompiledFrom::from).collect(),
        }
    }
}

impl From<&agent::Forked> for AgentForked {
    fn from(forked: &agent::Forked) -> Self {
        let block = |block: &agent::BlockFork| ForkedBlock {
            from_block_id: Id(block.from),
            sequence: block.version.0,
            block_id: Id(block.block),
        };
        Self {
            parent_id: Id(forked.parent),
            sequence: forked.seq.0,
            position: forked.position.0,
            name: forked.name.clone(),
            blocks: forked.blocks.iter().map(block).collect(),
        }
    }
}

impl From<&agent::Configured> for AgentConfigured {
    fn from(configured: &agent::Configured) -> Self {
        Self { config: (&configured.config).into() }
    }
}

impl From<&agent::SecretsSet> for AgentSecretsSet {
    fn from(set: &agent::SecretsSet) -> Self {
        Self { names: set.secrets.iter().map(|secret| secret.name.clone()).collect() }
    }
}

impl From<&agent::SystemCompiled> for AgentSystemCompiled {
    fn from(compiled: &agent::SystemCompiled) -> Self {
        Self {
            conversation_id: compiled.conversation.map(Id),
            text: compiled.text.clone(),
            tokens: compiled.tokens,
            compiled_at: Time(compiled.compiled_at),
            compiled_from: compiled.compiled_from.iter().map(CompiledFrom::from).collect(),
        }
    }
}

impl From<&agent::BlockVersion> for CompiledFrom {
    fn from(version: &agent::BlockVersion) -> Self {
        Self { block_id: Id(version.block), sequence: version.version.0 }
    }
}

impl From<&agent::ContextReplaced> for AgentContextReplaced {
    fn from(replaced: &agent::ContextReplaced) -> Self {
        Self {
            conversation_id: replaced.conversation.map(Id),
            messages: replaced.messages.iter().map(StoredMessage::from).collect(),
        }
    }
}

impl From<&agent::ContextCompacted> for AgentContextCompacted {
    fn from(compacted: &agent::ContextCompacted) -> Self {
        Self {
            conversation_id: compacted.conversation.map(Id),
            summary: (&compacted.summary).into(),
            kept_from: compacted.kept_from.map(Id),
            trigger: compacted.trigger.clone(),
            tokens_before: compacted.tokens_before,
            tokens_after: compacted.tokens_after,
            messages_before: compacted.messages_before,
            messages_after: compacted.messages_after,
        }
    }
}
